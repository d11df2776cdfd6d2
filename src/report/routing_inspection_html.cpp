#include <algorithm>
#include <cmath>

#include "report/format.h"
#include "report/page.h"
#include "report/routing_inspection.h"
#include "report/svg.h"
#include "util/text.h"

namespace artel {
namespace {

using LayerValue = std::function<double(const LayerInspection&)>;

ChartSeries by_layer(const RoutingInspection& inspection, const std::string& name, size_t style,
                     const LayerValue& value) {
  ChartSeries series;
  series.name = name;
  series.style = style;
  series.markers = true;
  for (const LayerInspection& layer : inspection.layers) {
    series.line.push_back({static_cast<double>(layer.layer), value(layer)});
  }
  return series;
}

Figure layer_chart(const std::string& id, const std::string& title, const std::string& y_title,
                   const std::string& caption, std::vector<ChartSeries> series, bool from_zero) {
  ChartSpec spec;
  spec.label = title;
  spec.x_title = "Layer";
  spec.x_whole = true;
  spec.x_from_data = true;
  spec.y_title = y_title;
  spec.y_from_zero = from_zero;
  spec.series = std::move(series);
  return {id, title, caption, chart_body(spec), false};
}

std::string target_name(const std::string& target) {
  if (target == "gate_activation") return "gate";
  if (target == "gate_activation_of_the_rest") return "gate, not bidding";
  return target;
}

std::vector<Figure> agreement_figures(const RoutingInspection& inspection) {
  std::vector<ChartSeries> correlations;
  std::vector<ChartSeries> strongest;
  for (size_t target = 0; target < inspection.layers.front().agreements.size(); ++target) {
    const std::string name = target_name(inspection.layers.front().agreements[target].target);
    correlations.push_back(by_layer(inspection, name, target, [&](const LayerInspection& layer) {
      return layer.agreements[target].rank_correlation;
    }));
    if (target == 1) {  // one band: four of them would cover each other
      for (const LayerInspection& layer : inspection.layers) {
        correlations.back().low.push_back(layer.agreements[target].lower_quartile);
        correlations.back().high.push_back(layer.agreements[target].upper_quartile);
      }
    }
    strongest.push_back(by_layer(inspection, name, target, [&](const LayerInspection& layer) {
      return layer.agreements[target].chosen_strongest;
    }));
  }
  const double blind =
      static_cast<double>(inspection.num_experts_per_tok) / static_cast<double>(inspection.num_experts);
  strongest.push_back(by_layer(inspection, "blind choice", 7, [&](const LayerInspection&) { return blind; }));
  const std::string names =
      "Gate: SiLU(gate) of all neurons of the expert; activation: SiLU(gate) · up; output: behind the down projection.";
  return {
      layer_chart("rank-correlation", "Scores against what the experts would do", "Rank correlation",
                  concat("Spearman’s correlation, over a token’s experts, of their scores with the norm of their "
                         "activation, had all of them run; mean over ",
                         inspection.sampled_tokens,
                         " tokens, shaded for the activation: the middle half of the "
                         "tokens. ",
                         names),
                  std::move(correlations), false),
      layer_chart("chosen-among-strongest", "Choices among the strongest experts", "Share of the choices",
                  concat("Share of a token’s choices that are among as many experts with the largest norms. ", names),
                  std::move(strongest), true)};
}

std::vector<Figure> shared_figures(const RoutingInspection& inspection) {
  const std::string name = inspection.layers.front().shared.kind == "real" ? "shared expert" : "virtual shared";
  std::vector<ChartSeries> series = {
      by_layer(inspection, name, 0, [](const LayerInspection& layer) { return layer.shared.relative_norm(); }),
      by_layer(inspection, "the rest", 1,
               [](const LayerInspection& layer) { return layer.shared.relative_other_norm(); })};
  return {
      layer_chart("shared-norm", "What every token gets", "Norm / norm of the output",
                  "Mean norm of the part of the layer’s output that every token gets, and of the rest, over the mean "
                  "norm of the output. Parts that point against each other have more than the whole.",
                  std::move(series), true)};
}

std::vector<Figure> decision_figures(const RoutingInspection& inspection) {
  std::vector<ChartSeries> entropies = {
      by_layer(inspection, "load", 0, [](const LayerInspection& layer) { return layer.load_entropy; }),
      by_layer(inspection, "a token’s choice", 1, [](const LayerInspection& layer) { return layer.choice_entropy; })};
  std::vector<ChartSeries> margins = {
      by_layer(inspection, "margin", 0, [](const LayerInspection& layer) { return layer.margin; })};
  std::vector<Figure> figures;
  HeatMapSpec spec;
  spec.label = "Expert load";
  spec.x_title = "Expert";
  spec.numbered_columns = true;
  HeatPanel panel{"Layers", inspection.layers.size(), static_cast<size_t>(inspection.num_experts), {}};
  for (const LayerInspection& layer : inspection.layers) {
    spec.row_names.push_back(concat("Layer ", layer.layer));
    const std::vector<double> row = over_mean(layer.load);
    panel.ratio.insert(panel.ratio.end(), row.begin(), row.end());
  }
  spec.panels.push_back(std::move(panel));
  figures.push_back({"load", spec.label,
                     "Tokens per expert over the mean of the layer. Grey is balance, yellow too many tokens, dark blue "
                     "too few or none.",
                     heat_map_body(spec, true), true});
  figures.push_back(
      layer_chart("entropy", "Entropy of load and of choice", "Entropy / ln(experts)",
                  "Load: 1 is perfect balance. Choice: of a token’s probabilities, mean over tokens; 0 is "
                  "certain, 1 undecided.",
                  std::move(entropies), false));
  figures.push_back(layer_chart("margin", "Margin of the choice", "Probability chosen − not chosen",
                                "Least probability among a token’s chosen experts minus the largest among the others, "
                                "mean over tokens.",
                                std::move(margins), true));
  return figures;
}

// How often pairs were chosen together, over what the loads of the two suggest.
HeatPanel pair_panel(const LayerInspection& layer) {
  const size_t num_experts = layer.load.size();
  HeatPanel panel{concat("Layer ", layer.layer), num_experts, num_experts, {}};
  double pairs = 0.0;
  double products = 0.0;
  for (size_t a = 0; a < num_experts; ++a) {
    for (size_t b = 0; b < a; ++b) {
      pairs += layer.coactivation[a][b];
      products += layer.load[a] * layer.load[b];
    }
  }
  for (size_t a = 0; a < num_experts; ++a) {
    for (size_t b = 0; b < num_experts; ++b) {
      const double expected = pairs * layer.load[a] * layer.load[b] / products;
      panel.ratio.push_back(a != b && expected > 0.0 ? layer.coactivation[a][b] / expected : std::nan(""));
    }
  }
  return panel;
}

std::vector<Figure> pair_figures(const RoutingInspection& inspection) {
  HeatMapSpec spec;
  spec.label = "Experts chosen together";
  spec.colour_title = "pairs / expected";
  spec.x_title = "Expert";
  spec.numbered_columns = true;
  for (const LayerInspection& layer : inspection.layers) spec.panels.push_back(pair_panel(layer));
  return {
      {"coactivation", spec.label,
       "Tokens that chose both experts, over what their loads suggest. Yellow: a pair that goes together; dark blue: "
       "one that avoids each other.",
       heat_map_body(spec, spec.panels.size() > 3), spec.panels.size() > 3}};
}

std::vector<std::string> set_names(const RoutingInspection& inspection) {
  std::vector<std::string> names;
  for (const InspectedSet& set : inspection.sets) names.push_back(set.name);
  return without_common_words(names);
}

std::vector<Figure> set_figures(const RoutingInspection& inspection) {
  HeatMapSpec spec;
  spec.label = "Experts by text";
  spec.x_title = "Expert";
  spec.numbered_columns = true;
  spec.row_names = set_names(inspection);
  for (const LayerInspection& layer : inspection.layers) {
    HeatPanel panel{concat("Layer ", layer.layer), inspection.sets.size(), layer.load.size(), {}};
    for (const std::vector<double>& load : layer.load_by_set) {
      const std::vector<double> row = over_mean(load);
      panel.ratio.insert(panel.ratio.end(), row.begin(), row.end());
    }
    spec.panels.push_back(std::move(panel));
  }
  const bool large = spec.panels.size() > 3;
  std::vector<ChartSeries> series = {
      by_layer(inspection, "specialisation", 0, [](const LayerInspection& layer) { return layer.specialisation; })};
  return {{"experts-by-set", spec.label,
           "Tokens per expert over the mean of the text and layer. A column with several colours is an expert that "
           "prefers some texts to others.",
           heat_map_body(spec, large), large},
          layer_chart("specialisation", "Specialisation", "Divergence / ln(texts)",
                      "Divergence of the texts’ distributions over the experts from their mean: 0, all texts use the "
                      "experts alike; 1, no two texts share an expert.",
                      std::move(series), true)};
}

std::vector<Figure> change_figures(const RoutingInspection& inspection) {
  std::vector<ChartSeries> series = {
      by_layer(inspection, "kept", 0, [](const LayerInspection& layer) { return layer.kept; }),
      by_layer(inspection, "by load alone", 7, [](const LayerInspection& layer) { return layer.kept_by_chance; })};
  return {layer_chart(
      "kept", concat("Assignments of step ", inspection.checkpoint.step, " also made at step ", inspection.other.step),
      "Share of the assignments",
      "On the same tokens. By load alone: two checkpoints whose choices had nothing in common but how "
      "often they take each expert.",
      std::move(series), true)};
}

bool is_sampled(const RoutingInspection& inspection) {
  return inspection.sampled_tokens > 0 && inspection.num_experts > 1;
}

bool has_shared(const RoutingInspection& inspection) {
  return is_sampled(inspection) && inspection.layers.front().shared.kind != "none";
}

std::vector<FigureSection> sections_of(const RoutingInspection& inspection) {
  std::vector<FigureSection> sections;
  if (is_sampled(inspection)) sections.push_back({"scores", "Scores and activations", agreement_figures(inspection)});
  if (has_shared(inspection)) {
    sections.push_back({"shared", "Shared expert", shared_figures(inspection)});
  }
  sections.push_back({"decisions", "Load and decisions", decision_figures(inspection)});
  if (inspection.sets.size() > 1) sections.push_back({"texts", "Texts", set_figures(inspection)});
  if (!inspection.other.path.empty()) sections.push_back({"change", "Change of choices", change_figures(inspection)});
  if (inspection.num_experts_per_tok > 1 && inspection.num_experts > 2) {
    sections.push_back({"pairs", "Pairs", pair_figures(inspection)});
  }
  return sections;
}

std::string fixed(double value, int digits) {
  return std::isfinite(value) ? format_fixed(value, digits) : std::string("-");
}

std::string layers_html(const RoutingInspection& inspection) {
  std::vector<PageColumn> columns = {number_column("Layer"),           number_column("Max<br>violation"),
                                     number_column("Load<br>entropy"), number_column("Choice<br>entropy"),
                                     number_column("Margin"),          number_column("Dead<br>experts")};
  for (const ScoreAgreement& agreement : inspection.layers.front().agreements) {
    columns.push_back(number_column(concat("Correlation:<br>", target_name(agreement.target))));
  }
  columns.push_back(number_column("Shared /<br>output"));
  columns.push_back(number_column("Speciali-<br>sation"));
  columns.push_back(number_column("Kept"));
  std::vector<std::vector<std::string>> rows;
  for (const LayerInspection& layer : inspection.layers) {
    std::vector<std::string> row = {concat(layer.layer),          fixed(layer.max_violation, 3),
                                    fixed(layer.load_entropy, 3), fixed(layer.choice_entropy, 3),
                                    fixed(layer.margin, 4),       concat(layer.dead_experts)};
    for (const ScoreAgreement& agreement : layer.agreements) row.push_back(fixed(agreement.rank_correlation, 3));
    row.push_back(fixed(layer.shared.relative_norm(), 3));
    row.push_back(fixed(layer.specialisation, 4));
    row.push_back(fixed(layer.kept, 3));
    rows.push_back(std::move(row));
  }
  return table_html(columns, rows);
}

std::string sets_html(const RoutingInspection& inspection) {
  const bool reduced = std::isfinite(inspection.loss_without_shared());
  const std::vector<std::string> names = set_names(inspection);
  std::vector<std::vector<std::string>> rows;
  const auto add_row = [&](const std::string& name, int64_t tokens, double loss, double without) {
    rows.push_back({name, concat(tokens), fixed(loss, 4)});
    if (reduced) rows.back().insert(rows.back().end(), {fixed(without, 4), format_delta(without - loss)});
  };
  for (size_t i = 0; i < names.size(); ++i) {
    const InspectedSet& set = inspection.sets[i];
    add_row(escape_html(names[i]), set.tokens, set.loss, set.loss_without_shared);
  }
  if (rows.size() > 1) add_row("<b>all</b>", inspection.tokens, inspection.loss(), inspection.loss_without_shared());
  std::vector<PageColumn> columns = {text_column("Text"), number_column("Tokens"), number_column("Loss (nats)")};
  if (reduced) {
    columns.push_back(number_column("without<br>shared"));
    columns.push_back(number_column("difference"));
  }
  return table_html(columns, rows);
}

std::string token_text(int32_t token, bool is_byte) {
  if (!is_byte || token < 0 || token > 255) return concat('#', token);
  if (token == ' ') return "␣";
  if (token == '\n') return "↵";
  if (token > 32 && token < 127) return escape_html(std::string(1, static_cast<char>(token)));
  return concat('#', token);
}

std::string choices_html(const RoutingInspection& inspection) {
  if (inspection.choices.empty()) return {};
  std::vector<PageColumn> columns = {text_column("Text"), number_column("Position"), text_column("Token")};
  for (const LayerInspection& layer : inspection.layers) columns.push_back(text_column(concat("Layer ", layer.layer)));
  std::vector<std::vector<std::string>> rows;
  const std::vector<std::string> names = set_names(inspection);
  for (const TokenChoices& choices : inspection.choices) {
    std::vector<std::string> row = {escape_html(names.at(choices.set)), concat(choices.position),
                                    token_text(choices.token, inspection.tokens_are_bytes)};
    for (const std::vector<int32_t>& experts : choices.experts) {
      std::vector<std::string> numbers;
      for (const int32_t expert : experts) numbers.push_back(concat(expert));
      row.push_back(join(numbers, ", "));
    }
    rows.push_back(std::move(row));
  }
  return concat(
      "<section id=\"choices\"><h2>Choices</h2>\n<details><summary>Experts of the first tokens of each text, "
      "strongest first</summary>",
      table_html(columns, rows), "</details></section>\n");
}

std::string header_html(const RoutingInspection& inspection) {
  std::string out =
      concat("<header><h1>Routing of ", escape_html(inspection.name), "</h1>\n<p class=\"muted\">",
             escape_html(inspection.routing), ", step ", inspection.checkpoint.step, ": ", inspection.num_experts,
             " experts in each of ", inspection.layers.size(), " layers, ", inspection.num_experts_per_tok,
             " per token. ", inspection.tokens, " tokens of ", inspection.sets.size(),
             inspection.sets.size() == 1 ? " text" : " texts", ", computed in fp32; every expert was run on ",
             inspection.sampled_tokens, " of them.</p>\n<ul class=\"verdicts\">\n");
  for (const std::string& finding : routing_findings(inspection))
    out += concat("<li>", escape_html(finding), "</li>\n");
  return concat(out, "</ul>\n", layers_html(inspection), "</header>\n");
}

}  // namespace

std::string routing_inspection_html(const RoutingInspection& inspection) {
  std::string out =
      concat(page_start(concat("Routing of ", inspection.name, " · Artel")), header_html(inspection), "<main>\n");
  size_t number = 0;
  for (const FigureSection& section : sections_of(inspection)) {
    out += concat("<section id=\"", section.id, "\"><h2>", section.heading, "</h2>\n<div class=\"figures\">\n");
    for (const Figure& figure : section.figures) out += figure_html(figure, ++number);
    if (section.id == "shared") out += concat("<div>", sets_html(inspection), "</div>\n");
    out += "</div></section>\n";
  }
  if (!has_shared(inspection)) {
    out += concat("<section id=\"losses\"><h2>Losses</h2>\n", sets_html(inspection), "</section>\n");
  }
  out += concat(choices_html(inspection), json_section(routing_inspection_json(inspection)));
  return concat(out, "</main>\n<footer><p>Checkpoint: ", escape_html(inspection.checkpoint.path),
                inspection.other.path.empty() ? "" : concat("; compared with ", escape_html(inspection.other.path)),
                "</p><p>Artel ", ARTEL_VERSION, "</p></footer>\n", page_end());
}

}  // namespace artel
