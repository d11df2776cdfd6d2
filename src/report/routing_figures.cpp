#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "report/figures.h"
#include "report/format.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr double kSmoothing = 0.02;
constexpr size_t kHeatColumns = 64;

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
    {&LayerRouting::choice_entropy, "choice-entropy", "Choice entropy", "Choice entropy / ln(experts)",
     "Entropy of a token’s probabilities over the experts, over that of even ones: 0 is a certain choice, 1 none at "
     "all.",
     false},
    {&LayerRouting::margin, "margin", "Margin of the choice", "Probability chosen − not chosen",
     "Least probability among a token’s chosen experts minus the largest among the others: near 0, the last place was "
     "won by a hair.",
     true},
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
      figure.body = heat_map_body(spec, figure.full_width);
      figures.push_back(std::move(figure));
      break;  // experts of different seeds have nothing in common, so one run stands for the group
    }
  }
  return figures;
}

// Panels of a run's layers: what every expert got of every validation set at the end, over the set's mean.
std::vector<HeatPanel> set_panels(const std::vector<SetExpertCounts>& sets) {
  std::vector<HeatPanel> panels;
  for (size_t layer = 0; layer < sets.front().counts.size(); ++layer) {
    HeatPanel panel{concat("Layer ", layer), 0, sets.front().counts[layer].size(), {}};
    for (const SetExpertCounts& set : sets) {
      if (layer >= set.counts.size() || set.counts[layer].size() != panel.num_columns) return {};
      const std::vector<double> row = over_mean(set.counts[layer]);
      panel.ratio.insert(panel.ratio.end(), row.begin(), row.end());
      ++panel.num_rows;
    }
    panels.push_back(std::move(panel));
  }
  return panels;
}

std::vector<Figure> set_load_figures(const Comparison& comparison) {
  std::vector<Figure> figures;
  for (const Group& group : comparison.groups) {
    for (const size_t index : group.runs) {
      const Run& run = comparison.runs[index];
      if (run.validation.empty() || run.validation.back().expert_counts.size() < 2) continue;
      HeatMapSpec spec;
      spec.label = concat("Experts by validation set of ", group.name);
      spec.x_title = "Expert";
      spec.numbered_columns = true;
      for (const SetExpertCounts& set : run.validation.back().expert_counts) spec.row_names.push_back(set.set);
      spec.row_names = without_common_words(spec.row_names);
      spec.panels = set_panels(run.validation.back().expert_counts);
      if (spec.panels.empty()) continue;
      Figure figure{concat("experts-by-set-", figures.size() + 1), spec.label, "", "", spec.panels.size() > 3};
      figure.caption =
          concat("Tokens per expert over the mean of the set and layer at step ", run.validation.back().step, ", seed ",
                 run.seed, ". A column with several colours is an expert that prefers some sets to others.");
      figure.body = heat_map_body(spec, figure.full_width);
      figures.push_back(std::move(figure));
      break;  // as above
    }
  }
  return figures;
}

}  // namespace

std::vector<double> over_mean(const std::vector<double>& counts) {
  double total = 0.0;
  for (const double count : counts) total += count;
  const double mean = total / static_cast<double>(counts.size());
  std::vector<double> ratios;
  for (const double count : counts) ratios.push_back(total > 0.0 ? count / mean : std::nan(""));
  return ratios;
}

std::vector<Figure> make_routing_figures(const Comparison& comparison) {
  std::vector<Figure> figures;
  for (const RoutingValue& value : kRoutingValues) {
    std::vector<ChartSeries> series = layer_series(comparison, value.member);
    if (series.empty()) continue;
    figures.push_back(over_time(comparison, value));
    figures.push_back(by_layer(comparison, value, std::move(series)));
  }
  for (Figure& figure : load_figures(comparison)) figures.push_back(std::move(figure));
  for (Figure& figure : set_load_figures(comparison)) figures.push_back(std::move(figure));
  return figures;
}

}  // namespace artel
