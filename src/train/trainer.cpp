#include "train/trainer.h"

#include <chrono>
#include <cmath>

#include "optim/schedule.h"
#include "train/choice_evaluation.h"
#include "train/evaluation.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

using Clock = std::chrono::steady_clock;

// Rows of every tenth step carry the load of every expert.
constexpr std::int64_t steps_between_loads = 10;
// Gradients that are summed over the ranks in one transfer: 16 MiB, long enough to be worth its latency.
constexpr std::int64_t bucket_elements = std::int64_t{1} << 22;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class Number>
Json by_purpose(const std::array<Number, num_purposes>& numbers) {
  Json json = Json::object();
  for (std::size_t i = 0; i < num_purposes; ++i) {
    if (numbers[i] > 0) json[purpose_name(static_cast<Purpose>(i))] = numbers[i];
  }
  return json;
}

MeshLayout mesh_layout(const Config& config, int world_size) {
  MeshSizes sizes;
  sizes.world_size = world_size;
  sizes.expert = config.parallel.expert;
  sizes.num_experts = config.model.num_experts;
  sizes.global_batch_size = config.train.global_batch_size;
  sizes.micro_batch_size = config.train.micro_batch_size;
  return MeshLayout(sizes);
}

}  // namespace

Trainer::Trainer(const Config& config, Runtime& runtime, FileLayer& files, Log& log, const TrainOptions& options)
    : config_(config),
      runtime_(runtime),
      files_(files),
      log_(log),
      options_(options),
      run_directory_(join_path(config.run.directory, config.run.name)),
      mesh_(runtime.world(), mesh_layout(config, runtime.world().size()), {config.parallel.expert_across_hosts}),
      model_(config.model, mesh_),
      spike_detector_(config.train) {
  config_.train.precision = runtime.precision();
  std::vector<DataSource> sources;
  for (const DataFile& file : config.data.train) sources.push_back(data_source(file));
  loader_ = std::make_unique<DataLoader>(sources, data_options(config), static_cast<std::uint64_t>(config.run.seed));
  open_validation_sets();
  allocate_model();
  resume();
  open_run_directory();
  const bool host_decides = config_.train.spike_action == "skip" && config_.train.spike_window > 0;
  late_figures_ = options_.late_figures.value_or(runtime_.context().backend.device() == Device::cuda) &&
                  !host_decides && model_.router_state().empty();
}

Trainer::~Trainer() = default;

void Trainer::allocate_model() {
  ParameterStore& store = model_.parameters();
  store.lay_out();
  buckets_ = make_buckets(store, {mesh_.world().size(), mesh_.expert_replicas().size()}, bucket_elements);
  own_pieces_ = artel::own_pieces(buckets_, mesh_.world().rank(), mesh_.expert_replicas().rank());
  const bool sharded = config_.parallel.zero_stage == 1;
  model_.allocate(runtime_.context(), runtime_.dtype(),
                  sharded ? own_pieces_ : ArenaRanges::whole(store.num_elements()));
  optimizer_ = std::make_unique<AdamW>(runtime_.context(), store, config_.optimizer, own_pieces_);
  if (mesh_.world().size() > 1) {
    sync_ = std::make_unique<GradientSync>(store, mesh_, buckets_, sharded);
    runtime_.context().progress = &mesh_.world();
  }
}

void Trainer::open_validation_sets() {
  const DataOptions data = data_options(config_);
  for (const DataFile& file : config_.data.validation) {
    validation_sets_.emplace_back(file.name, std::make_unique<ValidationReader>(data_source(file), data));
  }
  if (!validation_sets_.empty()) bytes_of_id_ = bytes_of_ids(config_);
  const TaskText text = config_.validation.tasks.empty() ? TaskText() : task_text(config_);
  for (const DataFile& file : config_.validation.tasks) {
    tasks_.push_back(
        read_choice_task(file.name, file.path, text, config_.model.vocab_size, config_.validation.task_examples));
  }
  if (!tasks_.empty()) document_end_ = masked_document_end(config_);
  validation_sample_ = std::make_unique<ValidationSample>(config_, log_);
}

Json Trainer::evaluate_tasks() {
  Json tasks;
  EvaluationOptions options = evaluation_options(config_, 0, &mesh_.world());
  options.document_end = document_end_;
  for (const ChoiceTask& task : tasks_) {
    const ChoiceScores scores = evaluate_choices(runtime_.context(), model_, task, options);
    tasks[task.name] = choice_scores_json(scores);
    log_.info(concat("step ", step_, "  ", task.name, ": accuracy ", format_fixed(scores.accuracy, 4), ", per token ",
                     format_fixed(scores.accuracy_per_token, 4), " of ", scores.num_examples, " examples"));
  }
  return tasks;
}

StepOptions Trainer::step_options(std::int64_t step) const {
  StepOptions options;
  options.step = step;
  options.micro_batch_size = config_.train.micro_batch_size;
  options.tokens_per_step = config_.train.global_batch_size * config_.model.max_position_embeddings;
  options.lr = learning_rate(config_.schedule, config_.optimizer.lr, step, config_.train.steps);
  options.recompute_blocks = config_.train.recompute == "block";
  options.sync = sync_.get();
  return options;
}

bool Trainer::train_one_step(const std::function<bool()>& should_stop) {
  const TraceSpan step_span(runtime_.context().tracer, TraceKind::phase, "step");
  load_batch();
  if (agree_to_stop(should_stop)) return false;
  StepRecord record;
  record.options = step_options(step_ + 1);
  record.step = record.options.step;
  record.tokens = tokens_ + record.options.tokens_per_step;
  record.batch = std::move(batch_);
  if (late_figures_) {
    start_late(record);
  } else {
    step_spikes_.clear();
    record.outcome = run_step(runtime_.context(), model_, *optimizer_, record.batch, record.options,
                              [this](double loss, double grad_norm) { return accept_step(loss, grad_norm); });
  }
  count_traffic(&record);
  step_ = record.step;
  tokens_ = record.tokens;
  last_ = std::move(record);
  return true;
}

void Trainer::start_late(StepRecord& record) {
  Context& context = runtime_.context();
  record.flight = start_passes(context, model_, record.batch, record.options);
  if (last_) {
    count_traffic(&record);
    read_last();
    if (!report_last()) record.flight = start_passes(context, model_, record.batch, record.options);
    count_traffic(nullptr);
  }
  start_update(context, *optimizer_, record.flight);
}

bool Trainer::pauses() const {
  const auto due = [this](std::int64_t every) { return every > 0 && step_ % every == 0; };
  return step_ == config_.train.steps || due(config_.validation.every) || due(config_.checkpoint.every) ||
         due(config_.parallel.verify_every);
}

void Trainer::read_last() {
  if (last_->outcome) return;
  last_->outcome = finish_step(runtime_.context(), model_, std::move(last_->flight));
  step_spikes_.clear();
  if (last_->outcome->finite) accept_step(last_->outcome->loss, last_->outcome->update.grad_norm);
  count_traffic(&*last_);
}

bool Trainer::report_last() {
  StepRecord record = std::move(*last_);
  last_.reset();
  write_step_row(record);
  progress_->update(record.step, record.outcome->loss,
                    static_cast<double>(record.options.tokens_per_step) / record.step_seconds);
  report_faults(record);
  if (batch_.inputs.empty()) batch_ = std::move(record.batch);  // its memory serves the next one
  return record.outcome->finite;
}

void Trainer::write_step_row(const StepRecord& record) {
  const StepOutcome& outcome = *record.outcome;
  Json row;
  row["step"] = record.step;
  row["tokens"] = record.tokens;
  row["loss"] = outcome.loss;
  row["lr"] = learning_rate(config_.schedule, config_.optimizer.lr, record.step, config_.train.steps);
  row["grad_norm"] = outcome.update.grad_norm;
  row["aux_loss"] = outcome.aux_loss;
  if (config_.model.router_z_loss_coef > 0.0 && !outcome.layers.empty()) row["z_loss"] = outcome.z_loss;
  row["tokens_per_second"] =
      static_cast<double>(config_.train.global_batch_size * config_.model.max_position_embeddings) /
      record.step_seconds;
  row["seconds"] = record.seconds;
  if (!outcome.layers.empty()) {
    row["moe"] = Json::array();
    for (std::size_t layer = 0; layer < outcome.layers.size(); ++layer) {
      row["moe"].push_back(moe_row(static_cast<std::int64_t>(layer), outcome.layers[layer],
                                   record.step % steps_between_loads == 0 || record.step == 1));
    }
  }
  if (mesh_.world().size() > 1) {
    row["bytes_sent"] = by_purpose(record.traffic.bytes_sent);
    row["seconds_waited"] = by_purpose(record.traffic.seconds_waited);
  }
  write_row(row);
}

bool Trainer::validate() {
  if (validation_sets_.empty()) return true;
  const TraceSpan span(runtime_.context().tracer, TraceKind::phase, "validation");
  Json sets = Json::object();
  Json expert_counts = Json::object();
  Json bits = Json::object();
  EvaluationOptions options = evaluation_options(config_, config_.validation.batches, &mesh_.world());
  options.bytes_of_id = &bytes_of_id_;
  for (const auto& [name, reader] : validation_sets_) {
    const Evaluation evaluation = evaluate(runtime_.context(), model_, *reader, options);
    if (!evaluation.complete) {
      data_error_ = evaluation.error;
      return false;
    }
    sets[name] = evaluation.loss;
    if (const auto value = bits_per_byte(evaluation)) bits[name] = *value;
    report_validation(name, evaluation.loss);
    if (!evaluation.expert_counts.empty()) expert_counts[name] = evaluation.expert_counts;
  }
  Json row;
  row["step"] = step_;
  row["tokens"] = tokens_;
  row["val_loss"] = sets[validation_sets_.front().first];
  row["sets"] = sets;
  if (!bits.empty()) row["bits_per_byte"] = bits;
  if (!tasks_.empty()) row["tasks"] = evaluate_tasks();
  if (!expert_counts.empty()) row["expert_counts"] = expert_counts;
  row["seconds"] = seconds_;
  log_.info(concat("step ", step_, "  validation loss ", format_fixed(row["val_loss"].get<double>(), 4)));
  const std::string sample = step_ > 0 ? validation_sample_->make(runtime_.context(), model_, log_) : "";
  if (!sample.empty()) {
    row["sample"] = sample;
    log_.info(concat("step ", step_, "  sample: ", sample));
  }
  write_row(row);
  return true;
}

bool Trainer::run(const std::function<bool()>& should_stop) {
  const auto due = [this](std::int64_t every) { return every > 0 && step_ % every == 0; };
  progress_ = std::make_unique<Progress>(step_, config_.train.steps, leads());
  Progress& progress = *progress_;
  runtime_.context().allocator.reset_peak();  // setting up is not part of training
  bool readable = step_ > 0 || config_.validation.every == 0 || validate();
  while (readable && step_ < config_.train.steps) {
    mesh_.world().set_step(step_ + 1);
    profiler_->before_step(step_ + 1);
    const auto start = Clock::now();
    count_traffic(nullptr);  // what validation or a checkpoint sent and waited is not of this step
    if (!train_one_step(should_stop)) break;
    profiler_->after_step();
    if (pauses()) read_last();
    last_->step_seconds = seconds_since(start);
    seconds_ += last_->step_seconds;
    last_->seconds = seconds_;
    if (last_->outcome) report_last();
    if (due(config_.parallel.verify_every)) check_replicas();
    const bool last = step_ == config_.train.steps;
    if (due(config_.validation.every) || (last && config_.validation.every > 0)) {
      progress.finish_line();
      readable = validate();
      if (!readable) break;
    }
    report_write_error(writer_->poll());
    if (due(config_.checkpoint.every) || last) save();
  }
  if (last_) {
    read_last();
    report_last();
  }
  progress.finish_line();
  profiler_->finish();
  report_memory();
  const bool finished = step_ >= config_.train.steps;
  if (!finished || !readable) save();
  const std::string error = writer_->finish();
  report_write_error(error);
  if (const std::int64_t rows = metrics_ ? metrics_->flush() : 0; rows > 0) {
    log_.warn(concat(rows, " rows of metrics.jsonl could not be written and are lost"));
  }
  require_data();
  if (!error.empty()) fail("checkpoint", "required a final checkpoint, found that it could not be written: " + error);
  if (!save_refused_.empty()) {
    fail("checkpoint", concat("required a final checkpoint of finite values, found NaN or an infinity in ",
                              save_refused_, "; go on from an older one"));
  }
  return finished;
}

void Trainer::write_row(const Json& row) {
  if (!leads()) return;
  const std::string error = metrics_->write(row);
  if (!error.empty()) log_.warn("rows of metrics.jsonl wait in memory until they can be written: " + error);
  const std::string event_error = tensorboard_ ? tensorboard_->write(row) : std::string();
  if (!event_error.empty()) log_.warn("rows for TensorBoard are lost until this is mended: " + event_error);
}

}  // namespace artel
