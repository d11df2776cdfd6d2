#include "report/format.h"

#include <algorithm>
#include <cmath>

#include "util/text.h"

namespace artel {
namespace {

bool starts_code_point(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
}

}  // namespace

std::string format_flops(double flops) {
  if (!std::isfinite(flops)) return "?";
  if (std::abs(flops) >= 999.5e15) {
    const double exponent = std::floor(std::log10(std::abs(flops)));
    return concat(format_fixed(flops / std::pow(10.0, exponent), 2), "e", static_cast<int>(exponent));
  }
  std::string text = format_count(flops);
  if (text.back() == 'B') text.back() = 'G';
  return text;
}

std::string format_loss(const std::optional<double>& loss) {
  return loss ? format_fixed(*loss, 4) : "-";
}

std::string format_delta(const std::optional<double>& delta) {
  if (!delta) return "-";
  const std::string text = format_fixed(*delta, 4);
  return text.front() == '-' ? text : concat('+', text);
}

std::string format_interval(const std::optional<Interval>& interval) {
  return interval ? concat('[', format_delta(interval->low), ", ", format_delta(interval->high), ']') : "-";
}

std::string format_p(const std::optional<double>& p_value) {
  if (!p_value) return "-";
  return *p_value < 0.001 ? "< 0.001" : format_fixed(*p_value, 3);
}

std::string format_mean(const std::optional<double>& mean, const std::optional<double>& deviation) {
  return deviation ? concat(format_loss(mean), " ± ", format_fixed(*deviation, 4)) : format_loss(mean);
}

std::string format_share(double part, double whole) {
  const double share = 100.0 * part / whole;
  return std::isfinite(share) ? concat(format_fixed(share, 0), " %") : "?";
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (const char byte : text) width += starts_code_point(byte) ? 1 : 0;
  return width;
}

std::vector<std::string> without_common_words(const std::vector<std::string>& names) {
  if (names.size() < 2) return names;
  size_t common = names.front().size();
  for (const std::string& name : names) {
    const auto differing = std::mismatch(name.begin(), name.end(), names.front().begin(), names.front().end());
    common = std::min(common, static_cast<size_t>(differing.first - name.begin()));
  }
  const size_t separator = common > 0 ? names.front().find_last_of("-_", common - 1) : std::string::npos;
  if (separator == std::string::npos) return names;
  std::vector<std::string> shorter;
  for (const std::string& name : names) {
    if (name.size() == separator + 1) return names;
    shorter.push_back(name.substr(separator + 1));
  }
  return shorter;
}

std::string shortened(const std::string& text, size_t width) {
  if (display_width(text) <= width) return text;
  if (width == 0) return {};
  std::string result;
  size_t used = 0;
  for (const char byte : text) {
    if (starts_code_point(byte) && ++used >= width) break;
    result += byte;
  }
  return result + "…";
}

}  // namespace artel
