#include "report/plot_frame.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "util/text.h"

namespace artel {
namespace {

std::string path_data(const std::vector<ChartPoint>& points, const PlotFrame& frame) {
  std::string data;
  bool drawing = false;
  for (const ChartPoint& point : points) {
    if (!std::isfinite(point.x) || !std::isfinite(point.y)) {
      drawing = false;
      continue;
    }
    data += concat(drawing ? 'L' : 'M', pixels(frame.x_pixel(point.x) - frame.left), ' ',
                   pixels(frame.y_pixel(point.y) - frame.top));
    drawing = true;
  }
  return data;
}

void draw_background(SvgWriter& svg, const ChartSeries& series, const PlotFrame& frame, bool with_raw) {
  const std::string css = series_class(series.style);
  if (with_raw) {
    for (const auto& raw : series.raw) svg.path(path_data(raw, frame), css + " raw");
  }
  if (series.low.empty() || series.high.empty()) return;
  std::vector<ChartPoint> outline;
  for (size_t i = 0; i < series.line.size(); ++i) outline.push_back({series.line[i].x, series.high[i]});
  for (size_t i = series.line.size(); i-- > 0;) outline.push_back({series.line[i].x, series.low[i]});
  svg.path(path_data(outline, frame) + "Z", css + " band");
}

// Where the first curve ends: beyond it there is nothing to compare.
double shortest_end(const std::vector<ChartSeries>& series) {
  double end = std::numeric_limits<double>::infinity();
  for (const ChartSeries& item : series) {
    if (!item.line.empty()) end = std::min(end, item.line.back().x);
  }
  return end;
}

void draw_inset_axes(SvgWriter& svg, const PlotFrame& inset, double x_unit) {
  const auto ticks = round_ticks(inset.y.low, inset.y.high, 4);
  const auto labels = tick_labels(ticks);
  for (size_t i = 0; i < ticks.size(); ++i) {
    const double y = inset.y_pixel(ticks[i]);
    svg.line(inset.left, y, inset.left + inset.width, y, "grid");
    svg.text(inset.left - 5.0, y + 4.0, labels[i], "tick", Anchor::end);
  }
  const auto x_ticks = round_ticks(inset.x.low / x_unit, inset.x.high / x_unit, 4);
  const auto x_labels = tick_labels(x_ticks);
  const double bottom = inset.top + inset.height;
  for (size_t i = 0; i < x_ticks.size(); ++i) {
    const double x = inset.x_pixel(x_ticks[i] * x_unit);
    svg.line(x, bottom, x, bottom + 3.0, "axis");
    svg.text(x, bottom + 14.0, x_labels[i], "tick", Anchor::middle);
  }
}

}  // namespace

void ValueRange::include(double value) {
  if (!std::isfinite(value)) return;
  const bool first = empty();
  low = first ? value : std::min(low, value);
  high = first ? value : std::max(high, value);
}

bool PlotFrame::holds(const ChartPoint& point) const {
  return point.x >= x.low && point.x <= x.high && point.y >= y.low && point.y <= y.high;
}

ValueRange y_values(const std::vector<ChartSeries>& series, double low, double high, bool with_bands, bool with_raw) {
  const auto inside = [&](const ChartPoint& point) { return point.x >= low && point.x <= high; };
  ValueRange range;
  for (const ChartSeries& item : series) {
    for (size_t i = 0; i < item.line.size(); ++i) {
      if (!inside(item.line[i])) continue;
      range.include(item.line[i].y);
      if (!with_bands) continue;
      if (!item.low.empty()) range.include(item.low[i]);
      if (!item.high.empty()) range.include(item.high[i]);
    }
    if (!with_raw) continue;
    for (const auto& raw : item.raw) {
      for (const ChartPoint& point : raw) {
        if (inside(point)) range.include(point.y);
      }
    }
  }
  return range;
}

ValueRange padded(ValueRange range, bool from_zero) {
  if (range.empty()) range = {0.0, 1.0};
  const double spread = range.high - range.low;
  const double padding = spread > 0.0 ? 0.05 * spread : std::max(0.05 * std::abs(range.high), 0.5);
  if (!(from_zero && range.low == 0.0)) range.low -= padding;
  range.high += padding;
  return range;
}

void draw_curves(SvgWriter& svg, const std::vector<ChartSeries>& series, const PlotFrame& frame, bool with_raw) {
  svg.open_area(frame.left, frame.top, frame.width, frame.height);
  for (const ChartSeries& item : series) draw_background(svg, item, frame, with_raw);
  for (const ChartSeries& item : series) {
    if (item.line.size() > 1) svg.path(path_data(item.line, frame), series_class(item.style) + " line");
  }
  svg.close_area();
}

void draw_markers(SvgWriter& svg, const std::vector<ChartSeries>& series, const PlotFrame& frame, double radius) {
  for (const ChartSeries& item : series) {
    if (!item.markers && item.line.size() > 1) continue;
    for (const ChartPoint& point : item.line) {
      if (!frame.holds(point)) continue;
      svg.marker(item.style, frame.x_pixel(point.x), frame.y_pixel(point.y), radius,
                 series_class(item.style) + " fill");
    }
  }
}

void draw_inset(SvgWriter& svg, const std::vector<ChartSeries>& series, const PlotFrame& frame, double x_unit) {
  const double end = shortest_end(series);
  if (!std::isfinite(end) || !(end > frame.x.low)) return;
  PlotFrame inset;
  inset.x = {frame.x.low + 0.75 * (end - frame.x.low), end + 0.01 * (frame.x.high - frame.x.low)};
  const ValueRange shown = y_values(series, inset.x.low, inset.x.high, true, false);
  if (shown.empty() || !(shown.high > shown.low)) return;
  inset.y = padded(shown, false);
  inset.left = frame.left + 0.47 * frame.width;
  inset.top = frame.top + 6.0;
  inset.width = 0.51 * frame.width;
  inset.height = 0.44 * frame.height;
  // Room for the tick labels on the left and below.
  const double first_x = frame.x.low + (0.47 - 45.0 / frame.width) * (frame.x.high - frame.x.low);
  const ValueRange around = y_values(series, first_x, frame.x.high, true, true);
  if (frame.y_pixel(around.high) < inset.top + inset.height + 22.0) return;
  const double zone_left = frame.x_pixel(inset.x.low);
  const double zone_top = frame.y_pixel(inset.y.high);
  svg.rect(zone_left, zone_top, std::min(frame.x_pixel(inset.x.high), frame.left + frame.width) - zone_left,
           frame.y_pixel(inset.y.low) - zone_top, "box");
  draw_inset_axes(svg, inset, x_unit);
  draw_curves(svg, series, inset, false);
  draw_markers(svg, series, inset, 2.6);
  svg.rect(inset.left, inset.top, inset.width, inset.height, "box");
}

}  // namespace artel
