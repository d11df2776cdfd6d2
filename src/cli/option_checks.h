#pragma once

#include <cstdint>
#include <string>

namespace CLI {
class Validator;
}

namespace artel {

/// Counts of steps, tokens and the like that a command line may ask for.
constexpr std::int64_t largest_count = 1'000'000'000'000;

/// For an option that names a file, a directory or the like: refuses the empty text that an unset variable of the shell
/// leaves. `required`: what the option takes, for the message.
CLI::Validator not_empty(const std::string& required = "a path");

/// For an option of an integer from `min` to `max`, in decimal digits.
CLI::Validator integer_from(std::int64_t min, std::int64_t max = largest_count);

}  // namespace artel
