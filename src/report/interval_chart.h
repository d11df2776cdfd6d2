#pragma once
// Values with intervals, one per row: final losses by seed, differences between groups.

#include <optional>
#include <string>
#include <vector>

#include "report/chart.h"
#include "report/stats.h"

namespace artel {

struct IntervalRow {
  std::string name;
  std::string value;  ///< the row's numbers as text
  size_t style = 0;
  std::optional<double> center;
  std::optional<Interval> interval;
  std::vector<double> dots;  ///< the single values behind the center
};

struct IntervalChartSpec {
  std::string label;
  std::string x_title;              ///< with unit
  std::optional<double> reference;  ///< a vertical line
  std::optional<double> margin;     ///< a shaded zone of +-margin around the reference
  std::string margin_label;
  std::vector<IntervalRow> rows;
};

std::string render_interval_chart(const IntervalChartSpec& spec, FigureSize size);

}  // namespace artel
