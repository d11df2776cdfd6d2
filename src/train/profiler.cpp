#include "train/profiler.h"

#include "util/error.h"
#include "util/text.h"

namespace artel {

StepProfiler::StepProfiler(Context& context, FileLayer& files, Log& log, std::string run_directory, std::string name,
                           std::int64_t num_steps)
    : context_(context),
      files_(files),
      log_(log),
      run_directory_(std::move(run_directory)),
      name_(std::move(name)),
      num_steps_(num_steps) {}

StepProfiler::~StepProfiler() {
  if (tracer_) context_.tracer = nullptr;
}

void StepProfiler::before_step(std::int64_t step) {
  if (num_steps_ == 0) return;
  if (num_seen_ == num_warm_up_steps) {
    tracer_ = std::make_unique<Tracer>(context_.allocator);
    context_.tracer = tracer_.get();
    first_step_ = step;
  }
  if (num_seen_ == num_warm_up_steps + num_steps_) finish();
}

void StepProfiler::after_step() {
  ++num_seen_;
}

void StepProfiler::finish() {
  if (num_steps_ == 0) return;
  context_.tracer = nullptr;
  if (num_seen_ <= num_warm_up_steps) {
    tracer_.reset();
    log_.warn(concat("--profile: the run ended within the ", num_warm_up_steps, " steps to warm up; nothing written"));
  }
  if (!tracer_) return;
  const std::string path = join_path(run_directory_, concat("trace-", first_step_, ".json"));
  try {
    write_file_atomic(files_, path, chrome_trace(*tracer_, name_));
    log_.info(concat("profile of ", num_seen_ - num_warm_up_steps, " steps from step ", first_step_, ": ", path));
  } catch (const Error& error) {
    log_.warn(concat("the profile could not be written: ", error.what()));
  }
  if (tracer_->num_dropped() > 0) {
    log_.warn(concat("the profile holds ", tracer_->max_events(), " spans, the most it can; ", tracer_->num_dropped(),
                     " later ones were left out; profile fewer steps"));
  }
  tracer_.reset();
}

}  // namespace artel
