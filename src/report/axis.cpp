#include "report/axis.h"

#include <algorithm>
#include <cmath>

#include "util/text.h"

namespace artel {
namespace {

struct NamedUnit {
  double size;
  const char* symbol;
};

AxisUnit largest_below(const std::vector<NamedUnit>& units, double largest) {
  AxisUnit unit{units.front().size, units.front().symbol};
  for (const NamedUnit& candidate : units) {
    if (largest >= candidate.size) unit = {candidate.size, candidate.symbol};
  }
  return unit;
}

}  // namespace

std::string AxisUnit::titled(const std::string& title) const {
  return symbol.empty() ? title : concat(title, " (", symbol, ')');
}

AxisUnit unit_for(Quantity quantity, double largest) {
  switch (quantity) {
    case Quantity::tokens:
      return largest_below({{1.0, ""}, {1e3, "thousand"}, {1e6, "million"}, {1e9, "billion"}, {1e12, "trillion"}},
                           largest);
    case Quantity::flops:
      return largest_below({{1.0, "FLOP"},
                            {1e3, "kFLOP"},
                            {1e6, "MFLOP"},
                            {1e9, "GFLOP"},
                            {1e12, "TFLOP"},
                            {1e15, "PFLOP"},
                            {1e18, "EFLOP"},
                            {1e21, "ZFLOP"}},
                           largest);
    case Quantity::seconds:
      return largest_below({{1.0, "s"}, {60.0, "min"}, {3600.0, "h"}, {86400.0, "days"}}, largest);
    case Quantity::plain:
      break;
  }
  return {};
}

std::vector<double> round_ticks(double low, double high, size_t max_ticks, bool whole) {
  const double rough = (high - low) / static_cast<double>(std::max<size_t>(max_ticks, 1));
  if (!(rough > 0.0) || !std::isfinite(rough)) return {low};
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0, 10.0, 20.0, 50.0}) {
    const double step = whole ? std::max(1.0, factor * power) : factor * power;
    const double first = std::ceil(low / step - 1e-9);
    const double last = std::floor(high / step + 1e-9);
    if (last - first + 1.0 > static_cast<double>(max_ticks)) continue;
    std::vector<double> ticks;
    for (double i = first; i <= last && ticks.size() < max_ticks; i += 1.0) ticks.push_back(i * step);
    return ticks;
  }
  return {low};
}

std::vector<std::string> tick_labels(const std::vector<double>& ticks) {
  const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : 1.0;
  const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 12);
  std::vector<std::string> labels;
  for (const double tick : ticks) labels.push_back(format_fixed(tick == 0.0 ? 0.0 : tick, digits));
  return labels;
}

}  // namespace artel
