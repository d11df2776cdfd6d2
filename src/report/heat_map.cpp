#include "report/heat_map.h"

#include <algorithm>
#include <cmath>

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
  colours.push_back({255, 255, 255});
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

void draw_colour_bar(SvgWriter& svg, double x, double y) {
  constexpr double width = 180.0;
  std::vector<uint8_t> shades(kNumShades);
  for (int i = 0; i < kNumShades; ++i) shades[static_cast<size_t>(i)] = static_cast<uint8_t>(i);
  svg.raw(image_markup(kNumShades, 1, shades, x, y, width, 10.0));
  const char* labels[] = {"≤ ¼", "½", "1", "2", "≥ 4"};
  for (int i = 0; i < 5; ++i) {
    const Anchor anchor = i == 0 ? Anchor::start : i == 4 ? Anchor::end : Anchor::middle;
    svg.text(x + width * i / 4.0, y + 23.0, labels[i], "tick", anchor);
  }
  svg.text(x + width + 12.0, y + 9.0, "load / mean load", "name");
}

struct Grid {
  size_t num_columns;
  double panel_width;
  double image_height;
  double gap;
};

// Few layers fill the width; many stand four (two) in a row.
Grid grid_of(const HeatMapSpec& spec, FigureSize size) {
  constexpr double gap = 26.0;
  const size_t most = size == FigureSize::narrow ? 2 : size == FigureSize::wide ? 3 : 4;
  const size_t num_columns = std::clamp<size_t>(spec.panels.size(), 1, most);
  const double width = figure_width(size) - 26.0;
  size_t most_rows = 1;
  for (const HeatPanel& panel : spec.panels) most_rows = std::max(most_rows, panel.num_rows);
  const double row_height = std::clamp(150.0 / static_cast<double>(most_rows), 2.0, 9.0);
  return {num_columns, (width - gap * static_cast<double>(num_columns - 1)) / static_cast<double>(num_columns),
          row_height * static_cast<double>(most_rows), gap};
}

void draw_panel(SvgWriter& svg, const HeatMapSpec& spec, const HeatPanel& panel, const Grid& grid, double x, double y) {
  const AxisUnit unit = unit_for(spec.x_quantity, spec.x_end);
  svg.text(x, y + 12.0, panel.title, "name");
  const double top = y + 19.0;
  const double bottom = top + grid.image_height;
  std::vector<uint8_t> shades;
  for (const double ratio : panel.ratio) shades.push_back(shade_of(ratio));
  svg.raw(image_markup(panel.num_columns, panel.num_rows, shades, x, top, grid.panel_width, grid.image_height));
  svg.text(x - 5.0, top + 10.0, "0", "tick", Anchor::end);
  if (panel.num_rows > 1) svg.text(x - 5.0, bottom - 1.0, concat(panel.num_rows - 1), "tick", Anchor::end);
  const auto ticks = round_ticks(0.0, spec.x_end / unit.size, static_cast<size_t>(grid.panel_width / 50.0));
  const auto labels = tick_labels(ticks);
  for (size_t i = 0; i < ticks.size(); ++i) {
    const double tick_x = x + grid.panel_width * ticks[i] * unit.size / spec.x_end;
    svg.line(tick_x, bottom, tick_x, bottom + 4.0, "axis");
    svg.text(tick_x, bottom + 16.0, labels[i], "tick", Anchor::middle);
  }
}

}  // namespace

std::string render_heat_map(const HeatMapSpec& spec, FigureSize size) {
  const Grid grid = grid_of(spec, size);
  const double panel_height = grid.image_height + 46.0;
  const size_t num_rows = (spec.panels.size() + grid.num_columns - 1) / grid.num_columns;
  const double width = figure_width(size);
  const double height = 40.0 + panel_height * static_cast<double>(num_rows) + 20.0;
  SvgWriter svg(width, height, figure_class(size), spec.label);
  draw_colour_bar(svg, 20.0, 2.0);
  for (size_t i = 0; i < spec.panels.size(); ++i) {
    const double x = 20.0 + (grid.panel_width + grid.gap) * static_cast<double>(i % grid.num_columns);
    const double y = 36.0 + panel_height * static_cast<double>(i / grid.num_columns);
    draw_panel(svg, spec, spec.panels[i], grid, x, y);
  }
  svg.text(width / 2.0, height - 4.0, unit_for(spec.x_quantity, spec.x_end).titled(spec.x_title), "name",
           Anchor::middle);
  return svg.finish();
}

}  // namespace artel
