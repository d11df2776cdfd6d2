#include "cli/resume_command.h"

#include <string_view>
#include <vector>

#include "util/text.h"

namespace artel {
namespace {

constexpr std::string_view plain_letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";

std::string quoted(std::string_view word) {
  if (!word.empty() && word.find_first_not_of(plain_letters) == std::string_view::npos) return std::string(word);
  std::string out = "'";
  for (const char letter : word) {
    if (letter == '\'') {
      out += "'\\''";
    } else {
      out += letter;
    }
  }
  return out + "'";
}

}  // namespace

std::string resume_command(int argc, const char* const* argv) {
  std::vector<std::string> words;
  for (int i = 0; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--resume") {
      ++i;  // and its value
    } else if (word.rfind("--resume=", 0) != 0) {
      words.push_back(quoted(word));
    }
  }
  return join(words, " ");
}

}  // namespace artel
