#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace artel {

namespace text_detail {

// Defined in text.cpp: inlined, std::string's append makes g++ 12 warn of overlaps that cannot happen.
void append(std::string& out, std::string_view text);

inline void append(std::string& out, const char* text) {
  append(out, std::string_view(text));
}
inline void append(std::string& out, const std::string& text) {
  append(out, std::string_view(text));
}
inline void append(std::string& out, char letter) {
  append(out, std::string_view(&letter, 1));
}
inline void append(std::string& out, bool value) {
  append(out, std::string_view(value ? "true" : "false"));
}

template <typename T>
requires std::is_arithmetic_v<T>
void append(std::string& out, T value) {
  char digits[64];  // the shortest text that reads back as the same number
  const auto result = std::to_chars(digits, digits + sizeof digits, value);
  append(out, std::string_view(digits, static_cast<size_t>(result.ptr - digits)));
}

}  // namespace text_detail

/// Joins texts, characters, booleans and numbers into one string; numbers in their shortest exact form.
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::string out;
  (text_detail::append(out, parts), ...);
  return out;
}

/// "a, b, c" for {"a", "b", "c"} and ", ".
std::string join(const std::vector<std::string>& parts, std::string_view separator);

/// `value` with exactly `digits` digits after the point.
std::string format_fixed(double value, int digits);

/// Three significant digits and a unit: "999", "1.23 K", "45.6 M", "1.23 B", "4.50 T".
std::string format_count(double value);

/// Three significant digits and a binary unit: "999 B", "1.50 KiB", "12.3 GiB".
std::string format_bytes(double bytes);

/// The two largest units: "0.5 s", "45 s", "3 m 20 s", "2 h 5 m", "3 d 4 h"; "?" when not finite or negative.
std::string format_duration(double seconds);

}  // namespace artel
