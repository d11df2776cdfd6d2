#pragma once
// Axes of figures: the unit of a quantity, round ticks, and the map from values to pixels.

#include <string>
#include <vector>

namespace artel {

enum class Quantity { tokens, flops, seconds, plain };

/// The unit in which an axis shows its values.
struct AxisUnit {
  double size = 1.0;   ///< values are divided by this
  std::string symbol;  ///< "M", "PFLOP", "min"; empty for plain numbers

  /// "Training tokens (M)"
  std::string titled(const std::string& title) const;
};

/// The unit in which `largest` has one to three digits before the point.
AxisUnit unit_for(Quantity quantity, double largest);

/// Round values within [low, high], at most `max_ticks` of them; whole numbers when `whole`.
std::vector<double> round_ticks(double low, double high, size_t max_ticks, bool whole = false);

/// Ticks as text, all with the digits that their distance needs.
std::vector<std::string> tick_labels(const std::vector<double>& ticks);

/// A linear map of [low, high] to pixels [from, to].
struct AxisScale {
  double low = 0.0;
  double high = 1.0;
  double from = 0.0;
  double to = 1.0;

  double operator()(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

}  // namespace artel
