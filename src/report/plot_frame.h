#pragma once
// A rectangle of a figure with a range of values, and the curves in it.

#include "report/chart.h"
#include "report/svg.h"

namespace artel {

struct ValueRange {
  double low = 0.0;
  double high = -1.0;  ///< below `low`: empty

  bool empty() const { return low > high; }
  /// Grows to hold `value`, unless that is not finite.
  void include(double value);
};

struct PlotFrame {
  ValueRange x;
  ValueRange y;
  double left = 0.0;
  double top = 0.0;
  double width = 0.0;
  double height = 0.0;

  /// Pixels in the whole figure.
  double x_pixel(double value) const { return AxisScale{x.low, x.high, left, left + width}(value); }
  double y_pixel(double value) const { return AxisScale{y.low, y.high, top + height, top}(value); }
  bool holds(const ChartPoint& point) const;
};

/// The y values of curves, and of their bands and raw curves if wanted, where x lies in [low, high].
ValueRange y_values(const std::vector<ChartSeries>& series, double low, double high, bool with_bands, bool with_raw);

/// `range` with a margin above and below; a range that starts at 0 keeps its start when `from_zero`.
ValueRange padded(ValueRange range, bool from_zero);

/// Bands, raw curves if `with_raw`, and curves, clipped to the frame.
void draw_curves(SvgWriter& svg, const std::vector<ChartSeries>& series, const PlotFrame& frame, bool with_raw);

/// Markers of the series that have them and of single points.
void draw_markers(SvgWriter& svg, const std::vector<ChartSeries>& series, const PlotFrame& frame, double radius);

/// An enlargement of the curves' ends in the upper right corner of `frame`, if the curves leave that corner free.
/// `x_unit` is the size of the unit of the x axis.
void draw_inset(SvgWriter& svg, const std::vector<ChartSeries>& series, const PlotFrame& frame, double x_unit);

}  // namespace artel
