#include "cli/option_checks.h"

#include <CLI/CLI.hpp>
#include <charconv>

#include "util/one_line.h"
#include "util/text.h"

namespace artel {

CLI::Validator not_empty(const std::string& required) {
  return CLI::Validator(
      [required](std::string& text) {
        return text.empty() ? concat("required ", required, ", found an empty text; is a shell variable unset?")
                            : std::string();
      },
      "");
}

CLI::Validator integer_from(std::int64_t min, std::int64_t max) {
  return CLI::Validator(
      [min, max](std::string& text) {
        std::int64_t value = 0;
        const char* end = text.data() + text.size();
        const auto result = std::from_chars(text.data(), end, value);
        if (result.ec == std::errc() && result.ptr == end && value >= min && value <= max) return std::string();
        return concat("required an integer from ", min, " to ", max, ", found ",
                      text.empty() ? "an empty text" : one_line(text, 40));
      },
      "");
}

}  // namespace artel
