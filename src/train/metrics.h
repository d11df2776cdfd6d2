#pragma once

#include <cstdint>
#include <optional>
#include <string>
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

  /// Adds {"attempt": …} and writes the line. A full disk must not end the run: returns the error text, empty if
  /// written.
  std::string write(Json row);
  std::int64_t attempt() const { return attempt_; }

 private:
  FileLayer& files_;
  OutputFile file_;
  std::int64_t attempt_ = 1;
};

/// What the experts got in one step, for a row's "moe" list:
///   max_violation  (largest load - mean) / mean
///   entropy        of the load, divided by its maximum ln N: 1 is balanced
///   dead_experts   experts without a token
Json moe_row(std::int64_t layer, const LayerStatistics& statistics, bool with_load);

}  // namespace artel
