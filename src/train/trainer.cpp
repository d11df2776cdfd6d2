#include "train/trainer.h"

#include <chrono>
#include <cmath>

#include "optim/schedule.h"
#include "train/evaluation.h"
#include "train/progress.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

using Clock = std::chrono::steady_clock;

// A run whose gradients stay non-finite this many steps in a row does not come back by itself.
constexpr int max_bad_steps = 5;
// Rows of every tenth step carry the load of every expert.
constexpr std::int64_t steps_between_loads = 10;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

Trainer::Trainer(const Config& config, Runtime& runtime, FileLayer& files, Log& log, const TrainOptions& options)
    : config_(config),
      runtime_(runtime),
      files_(files),
      log_(log),
      options_(options),
      run_directory_(join_path(config.run.directory, config.run.name)),
      model_(config.model, runtime.world()) {
  if (config.parallel.expert > runtime.world().size()) {
    fail("parallel.expert",
         concat("required at most the number of ranks, ", runtime.world().size(), " in this build without MPI, found ",
                config.parallel.expert, "; use parallel.expert: 1"));
  }
  config_.train.precision = runtime.precision();
  std::vector<DataSource> sources;
  for (const DataFile& file : config.data.train) sources.push_back(data_source(file));
  loader_ = std::make_unique<DataLoader>(sources, data_options(config), static_cast<std::uint64_t>(config.run.seed));
  open_validation_sets();
  model_.allocate(runtime.context(), runtime.dtype());
  optimizer_ = std::make_unique<AdamW>(runtime.context(), model_.parameters(), config.optimizer);
  resume();
  open_run_directory();
}

Trainer::~Trainer() = default;

void Trainer::open_validation_sets() {
  for (const DataFile& file : config_.data.validation) {
    validation_sets_.emplace_back(file.name,
                                  std::make_unique<ValidationReader>(data_source(file), data_options(config_)));
  }
}

StepOutcome Trainer::train_one_step() {
  const std::int64_t batch_size = config_.train.global_batch_size;
  loader_->load(step_ * batch_size, batch_size, batch_);
  if (step_ + 1 < config_.train.steps) loader_->prefetch((step_ + 1) * batch_size, batch_size);
  StepOptions options;
  options.step = step_ + 1;
  options.micro_batch_size = config_.train.micro_batch_size;
  options.tokens_per_step = batch_size * config_.model.max_position_embeddings;
  options.lr = learning_rate(config_.schedule, config_.optimizer.lr, options.step, config_.train.steps);
  options.recompute_blocks = config_.train.recompute == "block";
  StepOutcome outcome = run_step(runtime_.context(), model_, *optimizer_, batch_, options);
  step_ = options.step;
  tokens_ += options.tokens_per_step;
  return outcome;
}

void Trainer::write_step_row(const StepOutcome& outcome, double step_seconds) {
  Json row;
  row["step"] = step_;
  row["tokens"] = tokens_;
  row["loss"] = outcome.loss;
  row["lr"] = learning_rate(config_.schedule, config_.optimizer.lr, step_, config_.train.steps);
  row["grad_norm"] = outcome.update.grad_norm;
  row["aux_loss"] = outcome.aux_loss;
  row["tokens_per_second"] =
      static_cast<double>(config_.train.global_batch_size * config_.model.max_position_embeddings) / step_seconds;
  row["seconds"] = seconds_;
  if (!outcome.layers.empty()) {
    row["moe"] = Json::array();
    for (std::size_t layer = 0; layer < outcome.layers.size(); ++layer) {
      row["moe"].push_back(moe_row(static_cast<std::int64_t>(layer), outcome.layers[layer],
                                   step_ % steps_between_loads == 0 || step_ == 1));
    }
  }
  write_row(row);
}

void Trainer::handle_bad_step(const StepOutcome& outcome) {
  if (outcome.update.applied && std::isfinite(outcome.loss)) {
    num_bad_steps_ = 0;
    return;
  }
  ++num_bad_steps_;
  Json row;
  row["step"] = step_;
  row["event"] = "non_finite_step";
  row["applied"] = outcome.update.applied;
  write_row(row);
  log_.warn(concat("step ", step_, ": the loss or its gradient is not finite; the step was not applied"));
  if (num_bad_steps_ >= max_bad_steps) {
    fail("train",
         concat("required finite gradients, found ", num_bad_steps_, " steps in a row without up to step ", step_,
                "; lower optimizer.lr or raise schedule.warmup_steps, then resume from the last checkpoint"));
  }
}

void Trainer::validate() {
  if (validation_sets_.empty()) return;
  Json sets = Json::object();
  for (const auto& [name, reader] : validation_sets_) {
    sets[name] =
        evaluate(runtime_.context(), model_, *reader, config_.train.micro_batch_size, config_.validation.batches).loss;
  }
  Json row;
  row["step"] = step_;
  row["tokens"] = tokens_;
  row["val_loss"] = sets[validation_sets_.front().first];
  row["sets"] = sets;
  row["seconds"] = seconds_;
  log_.info(concat("step ", step_, "  validation loss ", format_fixed(row["val_loss"].get<double>(), 4)));
  write_row(row);
}

bool Trainer::run(const std::function<bool()>& should_stop) {
  const auto due = [this](std::int64_t every) { return every > 0 && step_ % every == 0; };
  Progress progress(step_, config_.train.steps);
  if (step_ == 0 && config_.validation.every > 0) validate();
  while (step_ < config_.train.steps && !(should_stop && should_stop())) {
    const auto start = Clock::now();
    const StepOutcome outcome = train_one_step();
    const double step_seconds = seconds_since(start);
    seconds_ += step_seconds;
    write_step_row(outcome, step_seconds);
    progress.update(step_, outcome.loss, static_cast<double>(batch_.targets.size()) / step_seconds);
    handle_bad_step(outcome);
    const bool last = step_ == config_.train.steps;
    if (due(config_.validation.every) || (last && config_.validation.every > 0)) {
      progress.finish_line();
      validate();
    }
    report_write_error(writer_->poll_error());
    if (due(config_.checkpoint.every) || last) save();
  }
  progress.finish_line();
  const bool finished = step_ >= config_.train.steps;
  if (!finished) save();
  const std::string error = writer_->wait();
  report_write_error(error);
  if (!error.empty()) fail("checkpoint", "required a final checkpoint, found that it could not be written: " + error);
  return finished;
}

void Trainer::write_row(const Json& row) {
  const std::string error = metrics_->write(row);
  if (!error.empty()) log_.warn("a row of metrics.jsonl was lost: " + error);
}

}  // namespace artel
