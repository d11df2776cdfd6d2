#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/trace.h"
#include "util/json.h"

namespace artel {

/// Spans of some training steps, added up by name.
class TimeTable {
 public:
  /// `kinds`: those of the rows; other spans count as part of what is around them.
  explicit TimeTable(std::vector<TraceKind> kinds) : kinds_(std::move(kinds)) {}

  void add(const std::vector<TraceEvent>& events);
  /// Largest first.
  std::vector<TraceRow> rows() const;

 private:
  std::vector<TraceKind> kinds_;
  std::vector<TraceRow> rows_;
};

/// What a steady step is compared with.
struct Ceilings {
  double flops_per_second = 0.0;
  double bytes_per_second = 0.0;
};

/// [{"name", "calls", "seconds", "share"}] per step, the rest of the step as "other": the shares add up to 1.
Json ops_json(const TimeTable& table, std::int64_t num_steps, double step_seconds);

/// [{"name", "calls", "seconds", "share", "flops_per_second" or "bytes_per_second", "fraction_of_ceiling"}] per step.
Json kernels_json(const TimeTable& table, std::int64_t num_steps, double step_seconds, const Ceilings& ceilings);

/// The whole of a bench for people.
std::string bench_text(const Json& bench);

}  // namespace artel
