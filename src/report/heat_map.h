#pragma once
// Matrices of ratios as SVG, one panel per layer: expert load over time, validation sets by experts, pairs of experts.

#include <string>
#include <vector>

#include "report/chart.h"

namespace artel {

struct HeatPanel {
  std::string title;
  size_t num_rows = 0;
  size_t num_columns = 0;
  std::vector<double> ratio;  ///< [rows, columns] of a value to what is even: 1 is even, 0 is nothing; NaN: no data
};

struct HeatMapSpec {
  std::string label;
  std::string colour_title = "load / mean load";
  std::string x_title;  ///< without unit
  Quantity x_quantity = Quantity::tokens;
  double x_end = 1.0;                  ///< of the last column
  bool numbered_columns = false;       ///< columns are things numbered from 0, not points of the x quantity
  std::string row_title = "expert";    ///< of a numbered row, for the data
  std::vector<std::string> row_names;  ///< of every panel's rows; none: they are numbered from 0
  std::vector<HeatPanel> panels;
};

std::string render_heat_map(const HeatMapSpec& spec, FigureSize size);

/// The numbers behind the panels, a series per row, in the form of chart_data.
std::string heat_map_data(const HeatMapSpec& spec, size_t max_points);

}  // namespace artel
