#include "report/routing_inspection.h"

#include <algorithm>
#include <cmath>

#include "report/format.h"
#include "report/text_table.h"
#include "util/text.h"

namespace artel {
namespace {

// Counts are doubles inside and whole numbers outside.
Json counts_json(const std::vector<double>& counts) {
  Json json = Json::array();
  for (const double count : counts) json.push_back(static_cast<int64_t>(count));
  return json;
}

Json agreement_json(const ScoreAgreement& agreement) {
  return {{"rank_correlation", agreement.rank_correlation},
          {"lower_quartile", agreement.lower_quartile},
          {"upper_quartile", agreement.upper_quartile},
          {"chosen_among_strongest", agreement.chosen_strongest}};
}

Json shared_json(const SharedContribution& shared) {
  return {{"kind", shared.kind},
          {"norm", shared.norm},
          {"other_norm", shared.other_norm},
          {"output_norm", shared.output_norm},
          {"relative_norm", shared.relative_norm()},
          {"relative_other_norm", shared.relative_other_norm()}};
}

Json layer_json(const LayerInspection& layer, const std::vector<InspectedSet>& sets) {
  Json json;
  json["layer"] = layer.layer;
  json["max_violation"] = layer.max_violation;
  json["entropy"] = layer.load_entropy;
  json["dead_experts"] = layer.dead_experts;
  json["choice_entropy"] = layer.choice_entropy;
  json["margin"] = layer.margin;
  json["specialisation"] = layer.specialisation;
  json["load"] = counts_json(layer.load);
  json["load_by_set"] = Json::object();
  for (size_t set = 0; set < sets.size(); ++set)
    json["load_by_set"][sets[set].name] = counts_json(layer.load_by_set[set]);
  json["coactivation"] = Json::array();
  for (const auto& row : layer.coactivation) json["coactivation"].push_back(counts_json(row));
  json["scores_against"] = Json::object();
  for (const ScoreAgreement& agreement : layer.agreements) {
    json["scores_against"][agreement.target] = agreement_json(agreement);
  }
  json["shared_expert"] = shared_json(layer.shared);
  json["assignments_kept"] = layer.kept;
  json["assignments_kept_by_chance"] = layer.kept_by_chance;
  return json;
}

template <typename Value>
double mean_over_layers(const RoutingInspection& inspection, Value value) {
  double sum = 0.0;
  for (const LayerInspection& layer : inspection.layers) sum += value(layer);
  return sum / static_cast<double>(inspection.layers.size());
}

template <typename Value>
std::string range_over_layers(const RoutingInspection& inspection, int digits, Value value) {
  std::vector<double> values;
  for (const LayerInspection& layer : inspection.layers) values.push_back(value(layer));
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return concat(format_fixed(*low, digits), " to ", format_fixed(*high, digits));
}

std::string percent(double share) {
  return std::isfinite(share) ? concat(format_fixed(100.0 * share, 1), " %") : std::string("-");
}

std::string score_word(const RoutingInspection& inspection) {
  return inspection.routing == "uoe"   ? "The bids of the routing neurons"
         : inspection.routing == "aoe" ? "The norms of the cached activations"
                                       : "The router’s logits";
}

std::string agreement_finding(const RoutingInspection& inspection) {
  const auto correlation = [](size_t target) {
    return [target](const LayerInspection& layer) { return layer.agreements[target].rank_correlation; };
  };
  const auto strongest = [](const LayerInspection& layer) { return layer.agreements[1].chosen_strongest; };
  std::string out =
      concat(score_word(inspection),
             " order a token’s experts by the norm of their whole activation with a rank correlation of ",
             format_fixed(mean_over_layers(inspection, correlation(1)), 3),
             " (layers: ", range_over_layers(inspection, 3, correlation(1)), "); by the norm of the gate alone ",
             format_fixed(mean_over_layers(inspection, correlation(0)), 3), ", by that of the output ",
             format_fixed(mean_over_layers(inspection, correlation(2)), 3));
  if (inspection.layers.front().agreements.size() > 3) {
    out += concat(", and by that of the gate of the neurons that do not bid ",
                  format_fixed(mean_over_layers(inspection, correlation(3)), 3));
  }
  return concat(
      out, ". Of the choices ", percent(mean_over_layers(inspection, strongest)),
      " are among the experts with the strongest activations; blind ones would be ",
      percent(static_cast<double>(inspection.num_experts_per_tok) / static_cast<double>(inspection.num_experts)), ".");
}

std::string shared_finding(const RoutingInspection& inspection) {
  const auto relative = [](const LayerInspection& layer) { return layer.shared.relative_norm(); };
  const auto other = [](const LayerInspection& layer) { return layer.shared.relative_other_norm(); };
  const std::string kind = inspection.layers.front().shared.kind == "real" ? "shared expert" : "virtual shared expert";
  std::string out = concat("The ", kind, "’s part is ", format_fixed(mean_over_layers(inspection, relative), 2),
                           " times as long as the layer’s output (layers: ", range_over_layers(inspection, 2, relative),
                           "), the rest ", format_fixed(mean_over_layers(inspection, other), 2), " times.");
  const double without = inspection.loss_without_shared();
  if (!std::isfinite(without)) return out;
  const double rise = without - inspection.loss();
  return concat(out, " Without it the loss ", rise >= 0.0 ? "rises from " : "falls from ",
                format_fixed(inspection.loss(), 4), " to ", format_fixed(without, 4), " nats per token.");
}

double weighted_loss(const std::vector<InspectedSet>& sets, double InspectedSet::*loss) {
  double sum = 0.0;
  double tokens = 0.0;
  for (const InspectedSet& set : sets) {
    sum += set.*loss * static_cast<double>(set.tokens);
    tokens += static_cast<double>(set.tokens);
  }
  return sum / tokens;
}

}  // namespace

double RoutingInspection::loss() const {
  return weighted_loss(sets, &InspectedSet::loss);
}

double RoutingInspection::loss_without_shared() const {
  return weighted_loss(sets, &InspectedSet::loss_without_shared);
}

std::vector<std::string> routing_findings(const RoutingInspection& inspection) {
  std::vector<std::string> findings;
  const bool sampled = inspection.sampled_tokens > 0 && inspection.num_experts > 1;
  if (sampled) findings.push_back(agreement_finding(inspection));
  if (sampled && inspection.layers.front().shared.kind != "none") findings.push_back(shared_finding(inspection));
  if (!inspection.other.path.empty()) {
    findings.push_back(concat(
        percent(mean_over_layers(inspection, [](const LayerInspection& layer) { return layer.kept; })),
        " of the assignments at step ", inspection.checkpoint.step, " are also made by the other checkpoint, of step ",
        inspection.other.step, "; for choices by load alone it would be ",
        percent(mean_over_layers(inspection, [](const LayerInspection& l) { return l.kept_by_chance; })), "."));
  }
  const double dead = mean_over_layers(
      inspection, [](const LayerInspection& layer) { return static_cast<double>(layer.dead_experts); });
  if (dead > 0.0) {
    findings.push_back(
        concat(format_fixed(dead, 1), " of ", inspection.num_experts, " experts a layer got no token of these texts."));
  }
  return findings;
}

Json token_choices_json(const TokenChoices& choices, const std::string& set) {
  return {{"set", set},
          {"sequence", choices.sequence},
          {"position", choices.position},
          {"token", choices.token},
          {"experts", choices.experts},
          {"weights", choices.weights}};
}

Json routing_inspection_json(const RoutingInspection& inspection) {
  Json json;
  json["name"] = inspection.name;
  json["routing"] = inspection.routing;
  json["checkpoint"] = inspection.checkpoint.path;
  json["step"] = inspection.checkpoint.step;
  const bool compared = !inspection.other.path.empty();
  json["other"] = compared ? Json(inspection.other.path) : Json(nullptr);
  json["other_step"] = compared ? Json(inspection.other.step) : Json(nullptr);
  json["precision"] = "fp32";
  json["experts"] = inspection.num_experts;
  json["experts_per_token"] = inspection.num_experts_per_tok;
  json["tokens"] = inspection.tokens;
  json["sampled_tokens"] = inspection.sampled_tokens;
  json["loss"] = inspection.loss();
  json["loss_without_shared_expert"] = inspection.loss_without_shared();
  json["sets"] = Json::array();
  for (const InspectedSet& set : inspection.sets) {
    json["sets"].push_back({{"name", set.name},
                            {"path", set.path},
                            {"tokens", set.tokens},
                            {"loss", set.loss},
                            {"loss_without_shared_expert", set.loss_without_shared}});
  }
  json["layers"] = Json::array();
  for (const LayerInspection& layer : inspection.layers) json["layers"].push_back(layer_json(layer, inspection.sets));
  json["choices"] = Json::array();
  for (const TokenChoices& choices : inspection.choices) {
    json["choices"].push_back(token_choices_json(choices, inspection.sets.at(choices.set).name));
  }
  return json;
}

std::string routing_inspection_table(const RoutingInspection& inspection) {
  TextTable table;
  for (const char* title : {"layer", "max viol.", "load H", "choice H", "margin", "dead", "special.", "corr act.",
                            "corr gate", "corr out", "strongest", "shared", "kept"}) {
    table.add_column(title, Align::right);
  }
  const auto number = [](double value, int digits) {
    return std::isfinite(value) ? format_fixed(value, digits) : std::string("-");
  };
  for (const LayerInspection& layer : inspection.layers) {
    const auto correlation = [&](size_t target) {
      return layer.agreements.size() > target ? number(layer.agreements[target].rank_correlation, 3) : std::string("-");
    };
    table.add_row({concat(layer.layer), number(layer.max_violation, 2), number(layer.load_entropy, 3),
                   number(layer.choice_entropy, 3), number(layer.margin, 3), concat(layer.dead_experts),
                   number(layer.specialisation, 3), correlation(1), correlation(0), correlation(2),
                   layer.agreements.empty() ? "-" : number(layer.agreements[1].chosen_strongest, 3),
                   number(layer.shared.relative_norm(), 2), number(layer.kept, 3)});
  }
  std::string out = concat(inspection.name, ", ", inspection.routing, ", step ", inspection.checkpoint.step, ", ",
                           inspection.tokens, " tokens\n\n", table.render(), "\n");
  for (const std::string& finding : routing_findings(inspection)) out += concat("- ", finding, "\n");
  return out;
}

}  // namespace artel
