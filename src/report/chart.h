#pragma once
// A line chart as SVG: curves with bands and markers, axes with units, a legend or labels at the curves' ends.

#include <string>
#include <vector>

#include "report/axis.h"

namespace artel {

struct ChartPoint {
  double x = 0.0;
  double y = 0.0;
};

/// One curve. `low` and `high` are the band's limits at the points of `line`, or empty.
struct ChartSeries {
  std::string name;
  size_t style = 0;  ///< colour, dash and marker
  std::vector<ChartPoint> line;
  std::vector<double> low;
  std::vector<double> high;
  std::vector<std::vector<ChartPoint>> raw;  ///< faint curves behind
  bool markers = false;
};

struct ChartSpec {
  std::string label;    ///< what the chart shows, for readers without the picture
  std::string x_title;  ///< without unit
  std::string y_title;  ///< with unit
  Quantity x_quantity = Quantity::plain;
  bool x_whole = false;      ///< ticks at whole numbers only
  bool x_from_data = false;  ///< the x axis starts at the first point, not at 0
  bool y_from_zero = false;
  /// The y range leaves out what lies left of this share of the x range: a curve that falls steeply at first would
  /// otherwise hide the rest.
  double cut_share = 0.0;
  bool enlarge_end = false;  ///< the last quarter once more, enlarged, where there is room
  std::vector<ChartSeries> series;
};

/// Sizes in which every figure is drawn; the page shows the one that fits.
enum class FigureSize { full, wide, narrow };

/// Width in pixels and the class that page_style.cpp knows.
double figure_width(FigureSize size);
std::string figure_class(FigureSize size);

std::string render_chart(const ChartSpec& spec, FigureSize size);

/// The chart's numbers as JSON text for the page's script, at most `max_points` of each series:
/// {"x", "y", "series": [{"name", "style", "x": [], "y": [], "low"?: [], "high"?: []}]}, x in the unit of the axis.
std::string chart_data(const ChartSpec& spec, size_t max_points);

}  // namespace artel
