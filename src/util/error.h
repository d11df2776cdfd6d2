#pragma once

#include <stdexcept>
#include <string_view>

namespace artel {

/// The one exception type of Artel. Text: `[where] what was required, what was found; what to do`.
/// Thrown wherever a requirement fails, caught once in `main`, which prints the text and exits with code 1. It is one
/// line: control characters, which names and values out of files may hold, become spaces.
class Error : public std::runtime_error {
 public:
  Error(std::string_view where, std::string_view what);
};

/// Throws Error(where, what).
[[noreturn]] inline void fail(std::string_view where, std::string_view what) {
  throw Error(where, what);
}

/// Throws Error(where, what) unless `condition` holds. For hot paths build the text only on failure: `if (!ok)
/// fail(...)`.
inline void require(bool condition, std::string_view where, std::string_view what) {
  if (!condition) fail(where, what);
}

}  // namespace artel
