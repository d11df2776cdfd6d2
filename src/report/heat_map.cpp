#include "report/heat_map.h"

#include <algorithm>
#include <cmath>

#include "report/format.h"
#include "report/png.h"
#include "report/svg.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr int kNumShades = 128;
constexpr double kOctaves = 2.0;  // the scale runs from 1/4 to 4 times the mean load
constexpr uint8_t kNoData = kNumShades;

// Dark blue, grey, yellow: reads the same with every common colour vision, in grey print, and on light or dark paper.
std::vector<Colour> palette() {
  const Colour ends[] = {{0, 32, 92}, {128, 128, 128}, {255, 225, 70}};
  std::vector<Colour> colours;
  for (int shade = 0; shade < kNumShades; ++shade) {
    const double place = 2.0 * shade / (kNumShades - 1);
    const int segment = place < 1.0 ? 0 : 1;
    const double share = place - segment;
    const auto mix = [&](uint8_t a, uint8_t b) { return static_cast<uint8_t>(std::lround(a + share * (b - a))); };
    const Colour& a = ends[segment];
    const Colour& b = ends[segment + 1];
    colours.push_back({mix(a.red, b.red), mix(a.green, b.green), mix(a.blue, b.blue)});
  }
  colours.push_back({255, 255, 255, 0});  // no data: the page's own background
  return colours;
}

uint8_t shade_of(double ratio) {
  if (std::isnan(ratio)) return kNoData;
  const double octave = ratio > 0.0 ? std::clamp(std::log2(ratio), -kOctaves, kOctaves) : -kOctaves;
  return static_cast<uint8_t>(std::lround((octave + kOctaves) / (2.0 * kOctaves) * (kNumShades - 1)));
}

std::string image_markup(size_t columns, size_t rows, const std::vector<uint8_t>& shades, double x, double y,
                         double width, double height) {
  const std::string png = encode_base64(encode_png(columns, rows, shades, palette()));
  return concat("<image x=\"", pixels(x), "\" y=\"", pixels(y), "\" width=\"", pixels(width), "\" height=\"",
                pixels(height),
                "\" preserveAspectRatio=\"none\" class=\"cells\" image-rendering=\"optimizeSpeed\" href=\"",
                "data:image/png;base64,", png, "\"/>");
}

void draw_colour_bar(SvgWriter& svg, double x, double y, const std::string& title) {
  constexpr double width = 180.0;
  std::vector<uint8_t> shades(kNumShades);
  for (int i = 0; i < kNumShades; ++i) shades[static_cast<size_t>(i)] = static_cast<uint8_t>(i);
  svg.raw(image_markup(kNumShades, 1, shades, x, y, width, 10.0));
  const char* labels[] = {"≤ ¼", "½", "1", "2", "≥ 4"};
  for (int i = 0; i < 5; ++i) {
    const Anchor anchor = i == 0 ? Anchor::start : i == 4 ? Anchor::end : Anchor::middle;
    svg.text(x + width * i / 4.0, y + 23.0, labels[i], "tick", anchor);
  }
  svg.text(x + width + 12.0, y + 9.0, title, "name");
}

struct Grid {
  size_t num_columns;
  double left;  // room for the names of rows, beside the first panel of a line
  double panel_width;
  double image_height;
  double gap;
};

constexpr size_t kMaxRowName = 15;

double name_width(const HeatMapSpec& spec) {
  double width = 13.0;  // of a number
  for (const std::string& name : spec.row_names) width = std::max(width, text_width(shortened(name, kMaxRowName)));
  return width + 7.0;
}

// Few layers fill the width; many stand four (two) in a row.
Grid grid_of(const HeatMapSpec& spec, FigureSize size) {
  constexpr double gap = 26.0;
  const size_t most = size == FigureSize::narrow ? 2 : size == FigureSize::wide ? 3 : 4;
  const size_t num_columns = std::clamp<size_t>(spec.panels.size(), 1, most);
  const double left = name_width(spec);
  const double width = figure_width(size) - left - 6.0;
  size_t most_rows = 1;
  for (const HeatPanel& panel : spec.panels) most_rows = std::max(most_rows, panel.num_rows);
  const double least = spec.row_names.empty() ? 2.0 : 14.0;  // a line of text
  const double row_height = std::max(least, std::min(150.0 / static_cast<double>(most_rows), 9.0));
  return {num_columns, left, (width - gap * static_cast<double>(num_columns - 1)) / static_cast<double>(num_columns),
          row_height * static_cast<double>(most_rows), gap};
}

void draw_row_names(SvgWriter& svg, const HeatMapSpec& spec, const HeatPanel& panel, bool first_in_line, double x,
                    double top, double height) {
  if (spec.row_names.empty()) {
    svg.text(x - 5.0, top + 10.0, "0", "tick", Anchor::end);
    if (panel.num_rows > 1) svg.text(x - 5.0, top + height - 1.0, concat(panel.num_rows - 1), "tick", Anchor::end);
    return;
  }
  const double row_height = height / static_cast<double>(std::max<size_t>(panel.num_rows, 1));
  for (size_t row = 0; first_in_line && row < panel.num_rows; ++row) {
    svg.text(x - 5.0, top + row_height * (static_cast<double>(row) + 0.5) + 4.0,
             shortened(spec.row_names[row], kMaxRowName), "tick", Anchor::end);
  }
}

void draw_column_ticks(SvgWriter& svg, const HeatMapSpec& spec, const HeatPanel& panel, double x, double width,
                       double bottom) {
  const auto max_ticks = static_cast<size_t>(width / (spec.numbered_columns ? 26.0 : 50.0));
  const AxisUnit unit = unit_for(spec.x_quantity, spec.x_end);
  const double end = spec.numbered_columns ? static_cast<double>(panel.num_columns) - 1.0 : spec.x_end / unit.size;
  const auto ticks = round_ticks(0.0, end, max_ticks, spec.numbered_columns);
  const auto labels = tick_labels(ticks);
  for (size_t i = 0; i < ticks.size(); ++i) {
    const double share = spec.numbered_columns ? (ticks[i] + 0.5) / static_cast<double>(panel.num_columns)
                                               : ticks[i] * unit.size / spec.x_end;
    svg.line(x + width * share, bottom, x + width * share, bottom + 4.0, "axis");
    svg.text(x + width * share, bottom + 16.0, labels[i], "tick", Anchor::middle);
  }
}

void draw_panel(SvgWriter& svg, const HeatMapSpec& spec, size_t index, const Grid& grid, double x, double y) {
  const HeatPanel& panel = spec.panels[index];
  svg.text(x, y + 12.0, panel.title, "name");
  const double top = y + 19.0;
  std::vector<uint8_t> shades;
  for (const double ratio : panel.ratio) shades.push_back(shade_of(ratio));
  svg.raw(image_markup(panel.num_columns, panel.num_rows, shades, x, top, grid.panel_width, grid.image_height));
  draw_row_names(svg, spec, panel, index % grid.num_columns == 0, x, top, grid.image_height);
  draw_column_ticks(svg, spec, panel, x, grid.panel_width, top + grid.image_height);
}

}  // namespace

std::string render_heat_map(const HeatMapSpec& spec, FigureSize size) {
  const Grid grid = grid_of(spec, size);
  const double panel_height = grid.image_height + 46.0;
  const size_t num_rows = (spec.panels.size() + grid.num_columns - 1) / grid.num_columns;
  const double width = figure_width(size);
  const double height = 40.0 + panel_height * static_cast<double>(num_rows) + 20.0;
  SvgWriter svg(width, height, figure_class(size), spec.label);
  draw_colour_bar(svg, 20.0, 2.0, spec.colour_title);
  for (size_t i = 0; i < spec.panels.size(); ++i) {
    const size_t column = i % grid.num_columns;
    const size_t row = i / grid.num_columns;
    const double x = grid.left + (grid.panel_width + grid.gap) * static_cast<double>(column);
    const double y = 36.0 + panel_height * static_cast<double>(row);
    draw_panel(svg, spec, i, grid, x, y);
  }
  const std::string x_title =
      spec.numbered_columns ? spec.x_title : unit_for(spec.x_quantity, spec.x_end).titled(spec.x_title);
  svg.text(width / 2.0, height - 4.0, x_title, "name", Anchor::middle);
  return svg.finish();
}

std::string heat_map_data(const HeatMapSpec& spec, size_t max_points) {
  ChartSpec chart;
  chart.x_title = spec.x_title;
  chart.x_quantity = spec.numbered_columns ? Quantity::plain : spec.x_quantity;
  chart.y_title = spec.colour_title;
  for (const HeatPanel& panel : spec.panels) {
    for (size_t row = 0; row < panel.num_rows; ++row) {
      ChartSeries series;
      series.name =
          concat(panel.title, " ", spec.row_names.empty() ? concat(spec.row_title, " ", row) : spec.row_names[row]);
      for (size_t column = 0; column < panel.num_columns; ++column) {
        const double share = static_cast<double>(column + 1) / static_cast<double>(panel.num_columns);
        const double x = spec.numbered_columns ? static_cast<double>(column) : share * spec.x_end;
        const double ratio = panel.ratio[row * panel.num_columns + column];
        series.line.push_back({x, std::round(1000.0 * ratio) / 1000.0});
      }
      chart.series.push_back(std::move(series));
    }
  }
  return chart_data(chart, max_points);
}

}  // namespace artel
