#include "report/interval_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "report/format.h"
#include "report/svg.h"

namespace artel {
namespace {

constexpr double kRowHeight = 50.0;
constexpr double kSide = 18.0;
constexpr double kStripTop = 19.0;  // of a row: below its text, where the values are
constexpr double kStripHeight = 26.0;

AxisScale value_scale(const IntervalChartSpec& spec, double width) {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  const auto include = [&](double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  };
  for (const IntervalRow& row : spec.rows) {
    if (row.center) include(*row.center);
    if (row.interval) {
      include(row.interval->low);
      include(row.interval->high);
    }
    for (const double dot : row.dots) include(dot);
  }
  if (spec.reference) include(*spec.reference);
  if (spec.reference && spec.margin) {
    include(*spec.reference - *spec.margin);
    include(*spec.reference + *spec.margin);
  }
  if (low > high) low = high = 0.0;
  const double padding = high > low ? 0.06 * (high - low) : std::max(0.05 * std::abs(high), 0.01);
  return {low - padding, high + padding, kSide, width - kSide};
}

// The ground of one row: margin, grid and reference, which stay clear of the text.
void draw_strip(SvgWriter& svg, const IntervalChartSpec& spec, const AxisScale& to_x, const std::vector<double>& ticks,
                double top) {
  const double bottom = top + kStripHeight;
  if (spec.reference && spec.margin) {
    const double low = to_x(*spec.reference - *spec.margin);
    svg.rect(low, top, to_x(*spec.reference + *spec.margin) - low, kStripHeight, "zone");
  }
  for (const double tick : ticks) svg.line(to_x(tick), top, to_x(tick), bottom, "grid");
  if (spec.reference) svg.line(to_x(*spec.reference), top, to_x(*spec.reference), bottom, "reference");
}

void draw_row(SvgWriter& svg, const IntervalRow& row, const AxisScale& to_x, double top, double width) {
  const std::string css = series_class(row.style);
  const double text_space = width - text_width(row.value) - 20.0;
  const auto letters = static_cast<size_t>(std::max(6.0, text_space / text_width("m")));
  svg.text(0.0, top + 13.0, shortened(row.name, letters));
  svg.text(width, top + 13.0, row.value, "tick", Anchor::end);
  const double y = top + kStripTop + kStripHeight / 2.0;
  for (const double dot : row.dots) svg.marker(row.style, to_x(dot), y, 3.6, css + " dot");
  if (row.interval) {
    const double low = to_x(row.interval->low);
    const double high = to_x(row.interval->high);
    svg.line(low, y, high, y, css + " whisker");
    svg.line(low, y - 5.0, low, y + 5.0, css + " whisker");
    svg.line(high, y - 5.0, high, y + 5.0, css + " whisker");
  }
  if (row.center) svg.marker(row.style, to_x(*row.center), y, 5.0, css + " fill");
}

}  // namespace

std::string render_interval_chart(const IntervalChartSpec& spec, FigureSize size) {
  const double width = figure_width(size);
  const double bottom = kRowHeight * static_cast<double>(spec.rows.size()) + 4.0;
  const bool has_margin = spec.reference && spec.margin;
  const double height = bottom + 46.0 + (has_margin ? 18.0 : 0.0);
  const AxisScale to_x = value_scale(spec, width);
  SvgWriter svg(width, height, figure_class(size), spec.label);
  const auto ticks = round_ticks(to_x.low, to_x.high, static_cast<size_t>(width / 62.0));
  const auto labels = tick_labels(ticks);
  for (size_t row = 0; row < spec.rows.size(); ++row) {
    draw_strip(svg, spec, to_x, ticks, kRowHeight * static_cast<double>(row) + kStripTop);
  }
  for (size_t i = 0; i < ticks.size(); ++i) {
    svg.line(to_x(ticks[i]), bottom, to_x(ticks[i]), bottom + 4.0, "axis");
    svg.text(to_x(ticks[i]), bottom + 17.0, labels[i], "tick", Anchor::middle);
  }
  svg.line(0.0, bottom, width, bottom, "axis");
  for (size_t i = 0; i < spec.rows.size(); ++i) {
    draw_row(svg, spec.rows[i], to_x, kRowHeight * static_cast<double>(i), width);
  }
  svg.text(width / 2.0, bottom + 38.0, spec.x_title, "name", Anchor::middle);
  if (has_margin) svg.text(width / 2.0, bottom + 56.0, spec.margin_label, "tick", Anchor::middle);
  return svg.finish();
}

}  // namespace artel
