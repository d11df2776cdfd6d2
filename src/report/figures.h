#pragma once
// The figures of the page, in the order in which they stand there.

#include <functional>
#include <string>
#include <vector>

#include "report/chart.h"
#include "report/comparison.h"
#include "report/group_curves.h"
#include "report/heat_map.h"

namespace artel {

struct Figure {
  std::string id;       ///< name of the files that it is saved as
  std::string title;    ///< plain text
  std::string caption;  ///< plain text
  std::string body;     ///< SVG in the sizes that the page chooses from, and the data behind it
  bool full_width = false;
};

struct FigureSection {
  std::string id;
  std::string heading;
  std::vector<Figure> figures;
};

/// Loss curves, differences, validation sets, routing; sections without data are left out.
std::vector<FigureSection> make_figures(const Comparison& comparison);

/// Routing values over time and by layer, and expert load; no figures when no run reports routing.
std::vector<Figure> make_routing_figures(const Comparison& comparison);

/// Counts over their mean; NaN when all are 0.
std::vector<double> over_mean(const std::vector<double>& counts);

/// A chart in both sizes with its data.
std::string chart_body(const ChartSpec& spec);

/// A heat map in both sizes with its data. `full_width`: Figure::full_width of the figure it is for.
std::string heat_map_body(const HeatMapSpec& spec, bool full_width);

/// A chart for each training axis, of which the page's switch shows one. `make` gives the chart on an axis; its x title
/// and quantity are filled in here.
std::string switched_chart_body(const std::function<ChartSpec(XAxis)>& make);

/// "mean of 3 seeds, shaded from lowest to highest", or what holds when groups have one or several.
std::string band_caption(const Comparison& comparison);

}  // namespace artel
