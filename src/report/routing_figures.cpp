#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "report/figures.h"
#include "report/heat_map.h"
#include "report/svg.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr double kSmoothing = 0.02;
constexpr size_t kHeatColumns = 64;
constexpr size_t kHeatDataColumns = 16;

struct RoutingValue {
  double LayerRouting::*member;
  const char* id;
  const char* title;
  const char* y_title;
  const char* meaning;
  bool from_zero;
};

constexpr RoutingValue kRoutingValues[] = {
    {&LayerRouting::max_violation, "max-violation", "Max violation", "Max violation",
     "Load of the fullest expert over the mean load, minus one: 0 is perfect balance.", true},
    {&LayerRouting::entropy, "load-entropy", "Load entropy", "Load entropy / ln(experts)",
     "Entropy of the load over that of an even load: 1 is perfect balance.", false},
    {&LayerRouting::dead_experts, "dead-experts", "Dead experts", "Experts without a token, per layer",
     "Experts that got no token in a step.", true},
};

Figure over_time(const Comparison& comparison, const RoutingValue& value) {
  Figure figure{value.id, concat(value.title, " during training"), "", "", false};
  figure.caption =
      concat(value.meaning, " Mean over layers, centred mean over 2 % of the steps; ", band_caption(comparison), '.');
  figure.body = switched_chart_body([&](XAxis axis) {
    ChartSpec spec;
    spec.label = figure.title;
    spec.y_title = value.y_title;
    spec.y_from_zero = value.from_zero;
    const TrackOf track = [&](const Run& run) { return routing_track(run, value.member); };
    spec.series = group_series(comparison, track, axis, {kSmoothing, false, false});
    return spec;
  });
  return figure;
}

Figure by_layer(const Comparison& comparison, const RoutingValue& value, std::vector<ChartSeries> series) {
  ChartSpec spec;
  spec.label = concat(value.title, " by layer");
  spec.x_title = "Layer";
  spec.x_whole = true;
  spec.x_from_data = true;
  spec.y_title = value.y_title;
  spec.y_from_zero = value.from_zero;
  spec.series = std::move(series);
  return {concat(value.id, "-by-layer"), spec.label,
          concat("Mean over the last tenth of training; ", band_caption(comparison), '.'), chart_body(spec), false};
}

// Sums of load / mean load in the columns of one layer's panel.
struct PanelSums {
  size_t num_experts = 0;
  std::vector<double> sums;    // [columns, experts]
  std::vector<double> counts;  // [columns]
};

HeatPanel make_panel(int64_t layer, const PanelSums& sums, size_t num_columns) {
  HeatPanel panel;
  panel.title = concat("Layer ", layer);
  panel.num_rows = sums.num_experts;
  panel.num_columns = num_columns;
  panel.ratio.assign(sums.num_experts * num_columns, std::numeric_limits<double>::quiet_NaN());
  for (size_t column = 0; column < num_columns; ++column) {
    for (size_t expert = 0; expert < sums.num_experts && sums.counts[column] > 0.0; ++expert) {
      panel.ratio[expert * num_columns + column] = sums.sums[column * sums.num_experts + expert] / sums.counts[column];
    }
  }
  return panel;
}

void add_load(PanelSums& sums, const std::vector<float>& load, size_t column, size_t num_columns) {
  if (sums.num_experts == 0) {
    sums.num_experts = load.size();
    sums.sums.assign(load.size() * num_columns, 0.0);
    sums.counts.assign(num_columns, 0.0);
  }
  double total = 0.0;
  for (const float value : load) total += static_cast<double>(value);
  if (load.size() != sums.num_experts || !(total > 0.0)) return;
  const double mean = total / static_cast<double>(load.size());
  for (size_t expert = 0; expert < load.size(); ++expert) {
    sums.sums[column * load.size() + expert] += static_cast<double>(load[expert]) / mean;
  }
  sums.counts[column] += 1.0;
}

// Panels of a run's layers over its tokens; none when its rows hold no load.
std::vector<HeatPanel> load_panels(const Run& run) {
  size_t num_rows = 0;
  for (const TrainingRow& row : run.training) {
    num_rows += std::any_of(row.moe.begin(), row.moe.end(), [](const auto& layer) { return !layer.load.empty(); });
  }
  const size_t num_columns = std::min(kHeatColumns, num_rows);
  std::map<int64_t, PanelSums> layers;
  const auto end = static_cast<double>(run.last_tokens());
  for (const TrainingRow& row : run.training) {
    const double place = static_cast<double>(row.tokens) / end * static_cast<double>(num_columns);
    const auto column = static_cast<size_t>(std::max(0.0, std::ceil(place) - 1.0));
    for (const LayerRouting& layer : row.moe) {
      if (!layer.load.empty()) add_load(layers[layer.layer], layer.load, column, num_columns);
    }
  }
  std::vector<HeatPanel> panels;
  for (const auto& item : layers) panels.push_back(make_panel(item.first, item.second, num_columns));
  return panels;
}

// The numbers behind the panels, a series per expert, for the page's CSV.
std::string load_data(const HeatMapSpec& heat) {
  ChartSpec chart;
  chart.x_title = heat.x_title;
  chart.x_quantity = heat.x_quantity;
  chart.y_title = "load / mean load";
  for (const HeatPanel& panel : heat.panels) {
    for (size_t expert = 0; expert < panel.num_rows; ++expert) {
      ChartSeries series;
      series.name = concat(panel.title, " expert ", expert);
      for (size_t column = 0; column < panel.num_columns; ++column) {
        const double share = static_cast<double>(column + 1) / static_cast<double>(panel.num_columns);
        const double ratio = panel.ratio[expert * panel.num_columns + column];
        series.line.push_back({share * heat.x_end, std::round(1000.0 * ratio) / 1000.0});
      }
      chart.series.push_back(std::move(series));
    }
  }
  return concat("<script type=\"application/json\">", script_safe(chart_data(chart, kHeatDataColumns)), "</script>");
}

std::vector<Figure> load_figures(const Comparison& comparison) {
  std::vector<Figure> figures;
  for (const Group& group : comparison.groups) {
    for (const size_t index : group.runs) {
      const Run& run = comparison.runs[index];
      HeatMapSpec spec;
      spec.panels = load_panels(run);
      if (spec.panels.empty()) continue;
      spec.label = concat("Expert load of ", group.name);
      spec.x_title = "Training tokens";
      spec.x_end = static_cast<double>(run.last_tokens());
      const bool small = spec.panels.size() <= 3;
      Figure figure{concat("expert-load-", figures.size() + 1), spec.label, "", "", !small};
      figure.caption = concat("Tokens per expert over the mean of the layer, seed ", run.seed,
                              "; experts in rows. Grey is balance, yellow too many tokens, dark blue too few or none.");
      figure.body = render_heat_map(spec, small ? FigureSize::wide : FigureSize::full) +
                    render_heat_map(spec, FigureSize::narrow) + load_data(spec);
      figures.push_back(std::move(figure));
      break;  // experts of different seeds have nothing in common, so one run stands for the group
    }
  }
  return figures;
}

}  // namespace

std::vector<Figure> make_routing_figures(const Comparison& comparison) {
  std::vector<Figure> figures;
  for (const RoutingValue& value : kRoutingValues) {
    std::vector<ChartSeries> series = layer_series(comparison, value.member);
    if (series.empty()) continue;
    figures.push_back(over_time(comparison, value));
    figures.push_back(by_layer(comparison, value, std::move(series)));
  }
  for (Figure& figure : load_figures(comparison)) figures.push_back(std::move(figure));
  return figures;
}

}  // namespace artel
