#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/transformer.h"
#include "util/files.h"
#include "util/json.h"

namespace artel {

/// metrics.jsonl of a run: one JSON object a line, appended; `attempt` counts how often the run was started.
class MetricsFile {
 public:
  /// Opens for appending. A last line that a kill cut short is dropped; the attempt is one more than the last one
  /// found.
  MetricsFile(FileLayer& files, const std::string& path);

  /// Adds {"attempt": …} and writes the line. A full disk must not end the run: rows that cannot be written wait in
  /// memory (16 MiB of them; of later ones a row {"event": "rows_lost", "count"} tells) and are written, whole and in
  /// order, with the first one that can. Returns the error text at the first failure of a series, else nothing.
  std::string write(Json row);
  /// Tries once more to write what waits. Returns how many rows are lost or still wait, 0 after success.
  std::int64_t flush();
  std::int64_t attempt() const { return attempt_; }

 private:
  void write_pending();

  FileLayer& files_;
  OutputFile file_;
  std::size_t size_ = 0;  ///< bytes of the whole lines in the file
  std::int64_t attempt_ = 1;
  bool torn_ = false;  ///< a part of a line may stand behind them
  bool failing_ = false;
  std::string pending_;  ///< lines to be written
  std::int64_t num_pending_ = 0;
  std::int64_t num_lost_ = 0;
};

/// The integer `key` of line `number`, from 1, of the metrics file `path`. Errors: a line that is damaged.
std::int64_t metrics_value(std::string_view line, std::string_view key, const std::string& path, std::int64_t number);

/// How evenly the experts of a layer are used.
struct LoadSummary {
  double max_violation = 0.0;     ///< (largest load - mean) / mean
  double entropy = 0.0;           ///< of the load, divided by its maximum ln N: 1 is balanced
  std::int64_t dead_experts = 0;  ///< experts without a token
};
LoadSummary summarise_load(const std::vector<std::int64_t>& expert_counts);

/// The choices of one layer in one step, for a row's "moe" list: the members of LoadSummary and
///   choice_entropy  of a token's probabilities, divided by its maximum ln N, mean over the tokens
///   margin          least probability chosen less the largest not chosen, mean over the tokens
///   load            with_load: the assignments of every expert
Json moe_row(std::int64_t layer, const LayerStatistics& statistics, bool with_load);

}  // namespace artel
