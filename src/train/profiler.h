#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/context.h"
#include "core/trace.h"
#include "util/files.h"
#include "util/log.h"

namespace artel {

/// Takes the times of a few training steps and writes them to RUN/trace-STEP.json (STEP: the first of them), for
/// chrome://tracing and ui.perfetto.dev. Between two calls of before_step, all that the context runs belongs to a step.
class StepProfiler {
 public:
  /// Steps that are left alone first: they fill caches and touch memory for the first time.
  static constexpr std::int64_t num_warm_up_steps = 2;

  /// `num_steps` 0: off, and nothing is done at all. `name` stands in the trace.
  StepProfiler(Context& context, FileLayer& files, Log& log, std::string run_directory, std::string name,
               std::int64_t num_steps);
  ~StepProfiler();
  StepProfiler(const StepProfiler&) = delete;
  StepProfiler& operator=(const StepProfiler&) = delete;

  /// Starts, and later ends, the profile when `step`, the next one to run, is the one for it.
  void before_step(std::int64_t step);
  /// The step has run.
  void after_step();
  /// Writes what there is when the run ends. A file that cannot be written is a warning.
  void finish();

 private:
  Context& context_;
  FileLayer& files_;
  Log& log_;
  std::string run_directory_;
  std::string name_;
  std::int64_t num_steps_;
  std::int64_t num_seen_ = 0;
  std::int64_t first_step_ = 0;
  std::unique_ptr<Tracer> tracer_;
};

}  // namespace artel
