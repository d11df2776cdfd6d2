#include "util/text.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace artel {
namespace {

template <size_t n>
std::string scaled(double value, double base, const std::array<const char*, n>& units) {
  if (!std::isfinite(value)) return format_fixed(value, 0);
  const double size = std::abs(value);
  size_t unit = 0;
  double scale = 1.0;
  // 999.5 of a unit would print as 1000: it belongs to the next one.
  while (unit + 1 < n && size / scale >= (unit == 0 ? base - 0.5 : base * 0.9995)) {
    scale *= base;
    ++unit;
  }
  const double shown = value / scale;
  const double magnitude = std::abs(shown);
  const int digits = unit == 0 ? 0 : magnitude < 9.995 ? 2 : magnitude < 99.95 ? 1 : 0;
  std::string text = format_fixed(shown, digits);
  if (units[unit][0] != '\0') text += concat(' ', units[unit]);
  return text;
}

}  // namespace

void text_detail::append(std::string& out, std::string_view text) {
  out.append(text.data(), text.size());
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += separator;
    out += parts[i];
  }
  return out;
}

std::string format_fixed(double value, int digits) {
  char text[400];  // the largest double has 309 digits before the point
  const int size = std::snprintf(text, sizeof text, "%.*f", digits, value);
  return std::string(text, static_cast<size_t>(size) < sizeof text ? static_cast<size_t>(size) : sizeof text - 1);
}

std::string format_count(double value) {
  return scaled(value, 1000.0, std::array<const char*, 7>{"", "K", "M", "B", "T", "P", "E"});
}

std::string format_bytes(double bytes) {
  return scaled(bytes, 1024.0, std::array<const char*, 6>{"B", "KiB", "MiB", "GiB", "TiB", "PiB"});
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0.0 || seconds > 1e12) return "?";
  if (seconds < 9.95) return concat(format_fixed(seconds, 1), " s");
  const auto total = static_cast<int64_t>(std::llround(seconds));
  if (total < 60) return concat(total, " s");
  if (total < 3600) return concat(total / 60, " m ", total % 60, " s");
  if (total < 86400) return concat(total / 3600, " h ", total % 3600 / 60, " m");
  return concat(total / 86400, " d ", total % 86400 / 3600, " h");
}

}  // namespace artel
