#pragma once
// What `artel inspect routing` found, as plain numbers, and its JSON and HTML page. docs/inspecting_routing.md defines
// every figure. NaN stands for a value that does not exist. N experts · K experts per token · L layers.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "util/json.h"

namespace artel {

/// A text that was looked at.
struct InspectedSet {
  std::string name;
  std::string path;
  int64_t tokens = 0;
  double loss = 0.0;  ///< nats per token
  double loss_without_shared = std::numeric_limits<double>::quiet_NaN();
};

/// How well the scores of a token order the experts by a norm, over the tokens of a sample.
struct ScoreAgreement {
  std::string target;             ///< gate_activation, activation, output, gate_activation_of_the_rest
  double rank_correlation = 0.0;  ///< mean over tokens of Spearman's, over the experts
  double lower_quartile = 0.0;    ///< of the same, over tokens
  double upper_quartile = 0.0;
  double chosen_strongest = 0.0;  ///< share of the choices that are among the K experts with the largest norm
};

/// The part of a layer's output that every token gets: a real shared expert or UoE's virtual one. Norms are means.
struct SharedContribution {
  std::string kind = "none";  ///< none, real, virtual
  double norm = std::numeric_limits<double>::quiet_NaN();
  double other_norm = std::numeric_limits<double>::quiet_NaN();   ///< of the output without it
  double output_norm = std::numeric_limits<double>::quiet_NaN();  ///< of the whole output

  double relative_norm() const { return norm / output_norm; }
  double relative_other_norm() const { return other_norm / output_norm; }
};

struct LayerInspection {
  int64_t layer = 0;
  std::vector<double> load;  ///< [N] assignments over all sets
  double max_violation = 0.0;
  double load_entropy = 0.0;
  int64_t dead_experts = 0;
  double choice_entropy = 0.0;
  double margin = 0.0;
  std::vector<std::vector<double>> load_by_set;   ///< [sets][N]
  double specialisation = 0.0;                    ///< relative divergence of the sets' loads; NaN for a single set
  std::vector<std::vector<double>> coactivation;  ///< [N][N] tokens that chose both; the diagonal is the load
  std::vector<ScoreAgreement> agreements;
  SharedContribution shared;
  double kept = std::numeric_limits<double>::quiet_NaN();            ///< share of assignments that --other makes too
  double kept_by_chance = std::numeric_limits<double>::quiet_NaN();  ///< the same for choices by load alone
};

/// What one token chose.
struct TokenChoices {
  size_t set = 0;
  int64_t sequence = 0;  ///< of the set
  int64_t position = 0;
  int32_t token = 0;
  std::vector<std::vector<int32_t>> experts;  ///< [L][K], strongest first
  std::vector<std::vector<float>> weights;    ///< [L][K]
};

struct InspectedCheckpoint {
  std::string path;
  int64_t step = 0;
};

struct RoutingInspection {
  std::string name;     ///< of the run
  std::string routing;  ///< method
  InspectedCheckpoint checkpoint;
  InspectedCheckpoint other;  ///< path empty: none was given
  int64_t num_experts = 0;
  int64_t num_experts_per_tok = 0;
  int64_t tokens = 0;          ///< over all sets
  int64_t sampled_tokens = 0;  ///< that every expert was run on
  bool tokens_are_bytes = false;
  std::vector<InspectedSet> sets;
  std::vector<LayerInspection> layers;
  std::vector<TokenChoices> choices;  ///< of the first tokens of each set

  /// Means over the tokens of all sets.
  double loss() const;
  double loss_without_shared() const;
};

Json token_choices_json(const TokenChoices& choices, const std::string& set);
Json routing_inspection_json(const RoutingInspection& inspection);

/// What came out, in sentences of plain text.
std::vector<std::string> routing_findings(const RoutingInspection& inspection);

/// One self-contained HTML page in the style of the comparison page.
std::string routing_inspection_html(const RoutingInspection& inspection);

/// A table of the layers for the terminal, with a newline at the end of each line.
std::string routing_inspection_table(const RoutingInspection& inspection);

}  // namespace artel
