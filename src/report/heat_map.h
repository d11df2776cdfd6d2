#pragma once
// Expert load over time as SVG: one panel per layer, experts in rows, time in columns.

#include <string>
#include <vector>

#include "report/chart.h"

namespace artel {

struct HeatPanel {
  std::string title;
  size_t num_rows = 0;        ///< experts
  size_t num_columns = 0;     ///< points in time
  std::vector<double> ratio;  ///< [rows, columns] load over the mean load: 1 is balanced, 0 is no token; NaN: no data
};

struct HeatMapSpec {
  std::string label;
  std::string x_title;  ///< without unit
  Quantity x_quantity = Quantity::tokens;
  double x_end = 1.0;  ///< of the last column
  std::vector<HeatPanel> panels;
};

std::string render_heat_map(const HeatMapSpec& spec, FigureSize size);

}  // namespace artel
