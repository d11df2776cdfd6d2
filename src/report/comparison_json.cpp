#include <cmath>

#include "report/comparison.h"

namespace artel {
namespace {

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// Counts beyond 32 bits are doubles inside and whole numbers outside.
Json finite_or_null(double value) {
  if (!std::isfinite(value)) return nullptr;
  constexpr double exact_below = 9007199254740992.0;
  if (std::floor(value) == value && std::abs(value) < exact_below) return static_cast<int64_t>(value);
  return value;
}

Json finite_or_null(const std::optional<double>& value) {
  return value ? finite_or_null(*value) : Json(nullptr);
}

Json interval_json(const std::optional<Interval>& interval) {
  return interval ? Json::array({interval->low, interval->high}) : Json(nullptr);
}

Json run_json(const Run& run, const std::string& group) {
  Json json;
  json["name"] = run.name;
  json["directory"] = run.directory;
  json["group"] = group;
  json["seed"] = run.seed;
  json["routing"] = run.routing;
  json["parameters"] = run.parameters;
  json["flops_per_token"] = run.flops_by_part;
  const bool validated = !run.validation.empty();
  json["final_val_loss"] = validated ? Json(run.validation.back().val_loss) : Json(nullptr);
  Json sets = Json::object();
  if (validated) {
    for (const auto& set : run.validation.back().sets) sets[set.first] = finite_or_null(set.second);
  }
  json["final_val_loss_by_set"] = sets;
  Json scores = Json::object();
  if (validated) {
    for (const auto& score : run.validation.back().scores) scores[score.first] = finite_or_null(score.second);
  }
  json["final_scores"] = scores;
  json["steps"] = run.last_step();
  json["tokens"] = run.last_tokens();
  json["flops"] = finite_or_null(run.last_flops());
  json["seconds"] = finite_or_null(run.last_seconds());
  json["attempts"] = run.num_attempts;
  json["device"] = run.device;
  json["precision"] = run.precision;
  return json;
}

Json losses_json(const FinalLosses& losses) {
  Json seeds = Json::array();
  Json values = Json::array();
  for (const SeedLoss& item : losses.seeds) {
    seeds.push_back(item.seed);
    values.push_back(item.loss);
  }
  return {{"mean", or_null(losses.mean())},
          {"standard_deviation", or_null(losses.standard_deviation())},
          {"seeds", seeds},
          {"values", values}};
}

Json group_json(const Group& group, const std::vector<Run>& runs) {
  Json json;
  json["name"] = group.name;
  json["routing"] = group.routing;
  json["runs"] = Json::array();
  for (const size_t run : group.runs) json["runs"].push_back(runs[run].directory);
  json["parameters"] = {{"total", group.total_parameters}, {"active", group.active_parameters}};
  json["flops_per_token"] = finite_or_null(group.flops_per_token);
  json["tokens"] = finite_or_null(group.tokens);
  json["flops"] = finite_or_null(group.flops);
  json["seconds"] = finite_or_null(group.seconds);
  json["tokens_per_second"] = finite_or_null(group.tokens_per_second);
  json["final_val_loss"] = losses_json(group.final_losses);
  json["final_val_loss_by_set"] = Json::object();
  for (const SetLosses& set : group.sets) json["final_val_loss_by_set"][set.name] = losses_json(set.losses);
  json["final_scores"] = Json::object();
  for (const SetLosses& score : group.scores) json["final_scores"][score.name] = losses_json(score.losses);
  return json;
}

Json loss_difference_json(const LossDifference& loss) {
  return {{"delta_val_loss", or_null(loss.delta)},
          {"ci95", interval_json(loss.ci95)},
          {"significant", or_null(loss.significant)},
          {"p_value", or_null(loss.p_value)}};
}

Json reach_json(const Reach& reach) {
  return {{"val_loss", reach.target},
          {"tokens", finite_or_null(reach.tokens)},
          {"flops", finite_or_null(reach.flops)},
          {"seconds", or_null(reach.seconds)}};
}

Json difference_json(const Difference& difference, const std::vector<Group>& groups) {
  Json json = {{"a", groups[difference.a].name}, {"b", groups[difference.b].name}};
  json["tokens"] = finite_or_null(difference.tokens);
  json.update(loss_difference_json(difference.loss));
  json["p_value_holm"] = or_null(difference.p_holm);
  json["method"] = difference.method;
  json["paired_seeds"] = difference.paired_seeds;
  json["verdict"] = difference.verdict;
  json["equivalence"] = nullptr;
  if (difference.equivalence) {
    const Equivalence& equivalence = *difference.equivalence;
    json["equivalence"] = {{"margin", equivalence.margin},
                           {"ci90", interval_json(equivalence.ci90)},
                           {"p_value", equivalence.p_value},
                           {"equivalent", equivalence.equivalent}};
  }
  const bool compared = difference.loss.delta.has_value();
  json["a_reaches_b"] = compared ? reach_json(difference.a_reaches_b) : Json(nullptr);
  json["b_reaches_a"] = compared ? reach_json(difference.b_reaches_a) : Json(nullptr);
  json["by_set"] = Json::object();
  for (const auto& set : difference.sets) json["by_set"][set.first] = loss_difference_json(set.second);
  return json;
}

}  // namespace

Json comparison_json(const Comparison& comparison) {
  Json json;
  std::vector<std::string> group_of(comparison.runs.size());
  for (const Group& group : comparison.groups) {
    for (const size_t run : group.runs) group_of[run] = group.name;
  }
  json["runs"] = Json::array();
  for (size_t i = 0; i < comparison.runs.size(); ++i) {
    json["runs"].push_back(run_json(comparison.runs[i], group_of[i]));
  }
  json["groups"] = Json::array();
  for (const Group& group : comparison.groups) json["groups"].push_back(group_json(group, comparison.runs));
  json["difference"] = "a minus b: below zero, a has the lower validation loss";
  json["differences"] = Json::array();
  for (const Difference& difference : comparison.differences) {
    json["differences"].push_back(difference_json(difference, comparison.groups));
  }
  json["config_differences"] = Json::array();
  for (const ConfigRow& row : comparison.config) {
    if (!row.differs) continue;
    Json values = Json::object();
    for (size_t g = 0; g < row.values.size(); ++g) values[comparison.groups[g].name] = row.values[g];
    json["config_differences"].push_back({{"key", row.key}, {"values", values}});
  }
  json["notes"] = comparison.notes;
  return json;
}

}  // namespace artel
