#pragma once

#include <cstdint>
#include <optional>
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

/// A mean step of those that the tables hold.
struct StepTime {
  std::int64_t num_steps = 0;
  double seconds = 0.0;
  double shared_seconds = 0.0;  ///< in loops over tasks
  int num_threads = 1;

  /// By Amdahl's law, with loops that scale without loss. Amdahl, AFIPS 1967.
  double seconds_on(int threads) const { return seconds - shared_seconds + shared_seconds * num_threads / threads; }
};

/// [{"name", "calls", "seconds", "share", "single_threaded_share_of_16"}] per step, the rest of the step as "other":
/// the shares add up to 1. The last is the time that only one thread works, as part of a step on 16 threads.
Json ops_json(const TimeTable& table, const StepTime& step);

/// The same rows with "flops_per_second" or "bytes_per_second" and "fraction_of_ceiling", without "other". No ceilings:
/// no rates, since the times are those of the host, which does not wait for kernels.
Json kernels_json(const TimeTable& table, const StepTime& step, const std::optional<Ceilings>& ceilings);

/// The whole of a bench for people.
std::string bench_text(const Json& bench);

}  // namespace artel
