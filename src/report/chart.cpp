#include "report/chart.h"

#include <algorithm>
#include <cmath>

#include "report/format.h"
#include "report/plot_frame.h"
#include "report/svg.h"
#include "util/json.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr double kLegendRow = 18.0;
constexpr double kLabelRow = 15.0;
constexpr size_t kMaxLabel = 18;

ValueRange x_range(const ChartSpec& spec) {
  ValueRange range;
  if (!spec.x_from_data) range.include(0.0);
  for (const ChartSeries& series : spec.series) {
    for (const ChartPoint& point : series.line) range.include(point.x);
  }
  if (range.empty()) range = {0.0, 1.0};
  if (range.high == range.low) range.high = range.low + 1.0;
  return range;
}

ValueRange y_range(const ChartSpec& spec, const ValueRange& x) {
  const double start = x.low + spec.cut_share * (x.high - x.low);
  ValueRange curves = y_values(spec.series, start, x.high, false, true);
  if (spec.y_from_zero) curves.include(0.0);
  // Bands that dwarf the curves, as those of two seeds do, run out of the picture instead of flattening it.
  const double spread = 2.0 * (curves.high - curves.low);
  ValueRange range = curves;
  const ValueRange bands = y_values(spec.series, start, x.high, true, false);
  if (!bands.empty() && spread > 0.0) {
    range.include(std::max(bands.low, curves.low - spread));
    range.include(std::min(bands.high, curves.high + spread));
  } else if (!bands.empty()) {
    range.include(bands.low);
    range.include(bands.high);
  }
  return padded(range, spec.y_from_zero);
}

// Draws one chart.
class ChartWriter {
 public:
  ChartWriter(const ChartSpec& spec, FigureSize size) : spec_(spec), size_(size), width_(figure_width(size)) {
    frame_.x = x_range(spec);
    frame_.y = y_range(spec, frame_.x);
    unit_ = unit_for(spec.x_quantity, frame_.x.high);
    has_end_labels_ = size != FigureSize::narrow && spec.series.size() > 1 && spec.series.size() <= 8;
    has_legend_ = !has_end_labels_ && spec.series.size() > 1;
    y_ticks_ = round_ticks(frame_.y.low, frame_.y.high, 6);
    y_labels_ = tick_labels(y_ticks_);
    double label_width = 0.0;
    for (const std::string& label : y_labels_) label_width = std::max(label_width, text_width(label));
    frame_.left = label_width + 12.0;
    frame_.width = width_ - frame_.left - (has_end_labels_ ? end_label_width() : 12.0);
    frame_.top = 26.0 + (has_legend_ ? legend_height() : 0.0);
    frame_.height = size == FigureSize::narrow ? 210.0 : 260.0;
    height_ = frame_.top + frame_.height + 44.0;
  }

  std::string render() {
    const std::string geometry = concat(" data-plot=\"", pixels(frame_.left), ' ', pixels(frame_.top), ' ',
                                        pixels(frame_.width), ' ', pixels(frame_.height), "\" data-domain=\"",
                                        frame_.x.low / unit_.size, ' ', frame_.x.high / unit_.size, "\"");
    SvgWriter svg(width_, height_, figure_class(size_), spec_.label, geometry);
    svg.text(0.0, 13.0, spec_.y_title, "name");
    if (has_legend_) draw_legend(svg);
    draw_axes(svg);
    draw_curves(svg, spec_.series, frame_, true);
    draw_markers(svg, spec_.series, frame_, 3.4);
    if (spec_.enlarge_end) draw_inset(svg, spec_.series, frame_, unit_.size);
    if (has_end_labels_) draw_end_labels(svg);
    return svg.finish();
  }

 private:
  double end_label_width() const {
    double width = 0.0;
    for (const ChartSeries& series : spec_.series) {
      width = std::max(width, text_width(shortened(series.name, kMaxLabel)));
    }
    return width + 26.0;
  }

  // Calls visit(series, x, row) for each entry of the legend, left to right and top to bottom.
  template <typename Visit>
  int place_legend(Visit visit) const {
    double x = 0.0;
    int row = 0;
    for (const ChartSeries& series : spec_.series) {
      const double entry = 20.0 + text_width(shortened(series.name, 40));
      if (x > 0.0 && x + entry > width_) {
        x = 0.0;
        ++row;
      }
      visit(series, x, row);
      x += entry + 14.0;
    }
    return row + 1;
  }

  double legend_height() const {
    return kLegendRow * place_legend([](const ChartSeries&, double, int) {});
  }

  void draw_legend(SvgWriter& svg) const {
    place_legend([&](const ChartSeries& series, double x, int row) {
      const double y = 32.0 + kLegendRow * row;
      svg.marker(series.style, x + 6.0, y - 4.0, 4.5, series_class(series.style) + " fill");
      svg.text(x + 16.0, y, shortened(series.name, 40));
    });
  }

  void draw_axes(SvgWriter& svg) const {
    const double right = frame_.left + frame_.width;
    for (size_t i = 0; i < y_ticks_.size(); ++i) {
      const double y = frame_.y_pixel(y_ticks_[i]);
      svg.line(frame_.left, y, right, y, "grid");
      svg.text(frame_.left - 7.0, y + 4.0, y_labels_[i], "tick", Anchor::end);
    }
    const auto max_ticks = static_cast<size_t>(std::max(2.0, frame_.width / 62.0));
    const auto ticks = round_ticks(frame_.x.low / unit_.size, frame_.x.high / unit_.size, max_ticks, spec_.x_whole);
    const auto labels = tick_labels(ticks);
    const double bottom = frame_.top + frame_.height;
    for (size_t i = 0; i < ticks.size(); ++i) {
      const double x = frame_.x_pixel(ticks[i] * unit_.size);
      svg.line(x, bottom, x, bottom + 4.0, "axis");
      svg.text(x, bottom + 17.0, labels[i], "tick", Anchor::middle);
    }
    svg.line(frame_.left, bottom, right, bottom, "axis");
    svg.text(frame_.left + frame_.width / 2.0, height_ - 6.0, unit_.titled(spec_.x_title), "name", Anchor::middle);
  }

  // Names at the curves' ends, pushed apart where they would overlap, each tied to its curve by a thin line.
  void draw_end_labels(SvgWriter& svg) const {
    struct Label {
      const ChartSeries* series;
      double x;
      double end;
      double y;
    };
    std::vector<Label> labels;
    for (const ChartSeries& series : spec_.series) {
      const auto last = std::find_if(series.line.rbegin(), series.line.rend(),
                                     [](const ChartPoint& point) { return std::isfinite(point.y); });
      if (last == series.line.rend()) continue;
      const double y = std::clamp(frame_.y_pixel(last->y), frame_.top, frame_.top + frame_.height);
      labels.push_back({&series, frame_.x_pixel(last->x), y, y});
    }
    std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.end < b.end; });
    for (size_t i = 1; i < labels.size(); ++i) labels[i].y = std::max(labels[i].y, labels[i - 1].y + kLabelRow);
    double limit = frame_.top + frame_.height - 2.0;
    for (size_t i = labels.size(); i-- > 0;) {
      labels[i].y = std::min(labels[i].y, limit);
      limit = labels[i].y - kLabelRow;
    }
    const double right = frame_.left + frame_.width;
    for (const Label& label : labels) {
      const std::string css = series_class(label.series->style);
      svg.path(
          concat('M', pixels(label.x + 4.0), ' ', pixels(label.end), 'L', pixels(right + 9.0), ' ', pixels(label.y)),
          css + " leader");
      svg.marker(label.series->style, right + 13.0, label.y, 3.6, css + " fill");
      svg.text(right + 21.0, label.y + 4.0, shortened(label.series->name, kMaxLabel));
    }
  }

  const ChartSpec& spec_;
  FigureSize size_;
  double width_;
  double height_ = 0.0;
  PlotFrame frame_;
  AxisUnit unit_;
  bool has_end_labels_ = false;
  bool has_legend_ = false;
  std::vector<double> y_ticks_;
  std::vector<std::string> y_labels_;
};

template <typename Value>
std::string number_list(size_t size, size_t max_points, Value value) {
  const size_t count = std::min(size, max_points);
  std::string out = "[";
  for (size_t i = 0; i < count; ++i) {
    // Both ends are kept, whatever the stride.
    const size_t index = count == size ? i : i * (size - 1) / (count - 1);
    out += concat(i > 0 ? "," : "", data_number(value(index)));
  }
  return out + "]";
}

}  // namespace

double figure_width(FigureSize size) {
  switch (size) {
    case FigureSize::full:
      return 1128.0;
    case FigureSize::wide:
      return 556.0;
    case FigureSize::narrow:
      break;
  }
  return 358.0;
}

std::string figure_class(FigureSize size) {
  return size == FigureSize::narrow ? "narrow" : size == FigureSize::wide ? "wide" : "wide full";
}

std::string render_chart(const ChartSpec& spec, FigureSize size) {
  return ChartWriter(spec, size).render();
}

std::string chart_data(const ChartSpec& spec, size_t max_points) {
  const AxisUnit unit = unit_for(spec.x_quantity, x_range(spec).high);
  std::string out =
      concat("{\"x\":", dump_json(unit.titled(spec.x_title)), ",\"y\":", dump_json(spec.y_title), ",\"series\":[");
  for (size_t s = 0; s < spec.series.size(); ++s) {
    const ChartSeries& series = spec.series[s];
    const size_t size = series.line.size();
    out += concat(s > 0 ? "," : "", "{\"name\":", dump_json(series.name), ",\"style\":\"", series_class(series.style),
                  "\",\"x\":", number_list(size, max_points, [&](size_t i) { return series.line[i].x / unit.size; }),
                  ",\"y\":", number_list(size, max_points, [&](size_t i) { return series.line[i].y; }));
    if (!series.low.empty()) {
      out += concat(",\"low\":", number_list(size, max_points, [&](size_t i) { return series.low[i]; }),
                    ",\"high\":", number_list(size, max_points, [&](size_t i) { return series.high[i]; }));
    }
    out += '}';
  }
  return out + "]}";
}

}  // namespace artel
