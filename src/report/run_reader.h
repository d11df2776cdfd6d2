#pragma once
// Reads a run directory: summary.json (what was trained) and metrics.jsonl (what came out).

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "report/lineage.h"
#include "util/json.h"

namespace artel {

/// What one MoE layer's routing looked like in one training step; a value that the row lacks is NaN.
struct LayerRouting {
  int64_t layer = 0;
  double max_violation = 0.0;                                        ///< (largest load - mean load) / mean load
  double entropy = 0.0;                                              ///< of the load, over that of even load: 1 is even
  double dead_experts = 0.0;                                         ///< experts without a token
  double choice_entropy = std::numeric_limits<double>::quiet_NaN();  ///< of a token's probabilities over ln N, mean
  double margin = std::numeric_limits<double>::quiet_NaN();  ///< least probability chosen less largest not chosen, mean
  std::vector<float> load;  ///< [N] tokens per expert; kept for at most kMaxLoadRows rows of a run
};

/// A training row of metrics.jsonl; an optional value that the row lacks is NaN.
struct TrainingRow {
  int64_t step = 0;
  int64_t tokens = 0;  ///< seen since the start of the run
  int64_t attempt = 0;
  double loss = 0.0;  ///< nats, global mean
  double lr = 0.0;
  double grad_norm = 0.0;
  double aux_loss = 0.0;
  double tokens_per_second = 0.0;
  double seconds = 0.0;  ///< training time since the start of the run, over all attempts
  std::vector<LayerRouting> moe;
};

/// What the experts of every layer got of one validation set.
struct SetExpertCounts {
  std::string set;
  std::vector<std::vector<double>> counts;  ///< [layers][N] assignments
};

/// A validation row of metrics.jsonl.
struct ValidationRow {
  int64_t step = 0;
  int64_t tokens = 0;
  int64_t attempt = 0;
  double val_loss = 0.0;  ///< nats
  double seconds = 0.0;   ///< of the row, else interpolated between training rows; NaN when there are none
  std::vector<std::pair<std::string, double>> sets;  ///< loss per validation set, in the row's order
  std::vector<SetExpertCounts> expert_counts = {};   ///< kept for the last row of a run alone
  /// What else was measured, in the row's order: "bits per byte, SET", "TASK, accuracy" and so on.
  std::vector<std::pair<std::string, double>> scores = {};
};

/// A run as it stands. Rows are in ascending step order, one per step, of the attempts that the last one stems from:
/// what an attempt wrote beyond the checkpoint with which a later one went on is left out.
struct Run {
  std::string directory;
  std::string name;
  std::string routing;
  int64_t seed = 0;
  int64_t total_parameters = 0;
  int64_t active_parameters = 0;
  double flops_per_token = 0.0;  ///< forward and backward
  Json parameters;               ///< the summary's objects: counts and FLOPs by part, "total" included
  Json flops_by_part;
  std::string device;
  std::string precision;
  int64_t threads = 0;  ///< 0 when the summary lacks it
  Json config;          ///< resolved
  std::vector<TrainingRow> training;
  std::vector<ValidationRow> validation;
  std::vector<Json> events;            ///< of all attempts
  std::vector<ResumedChange> changes;  ///< of the config, by the resumes that the rows stem from
  int64_t num_attempts = 0;            ///< 1 + resumes that wrote rows
  std::vector<std::string> notes;      ///< what a reader should know: a truncated last line, rows without a finite loss

  /// Of the last row of any kind.
  int64_t last_step() const;
  int64_t last_tokens() const;
  /// tokens * flops_per_token
  double last_flops() const;
  /// Training time up to the last training row; NaN without one.
  double last_seconds() const;
};

/// At most this many rows of a run keep their `load`, evenly spread over the run.
constexpr size_t kMaxLoadRows = 512;

/// Makes the contents of summary.json for a directory that lacks the file, from its config.yaml.
using Summarize = std::function<Json(const std::string& config_path)>;

/// Reads `directory`. A last line cut short by a kill is left out with a note; every other malformed line, a missing
/// file or field, tokens that do not rise with the steps, and a run without rows throw Error naming file and line.
/// `summarize` serves directories without summary.json; without it they are an Error.
Run read_run(const std::string& directory, const Summarize& summarize = {});

}  // namespace artel
