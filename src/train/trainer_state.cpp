// The parts of Trainer that deal with its run directory and checkpoints.

#include "checkpoint/parameters.h"
#include "config/changes.h"
#include "config/yaml.h"
#include "model/count.h"
#include "train/trainer.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr const char* moment_prefixes[] = {"optimizer.exp_avg.", "optimizer.exp_avg_sq."};
constexpr const char* master_prefix = "optimizer.master.";
constexpr const char* router_state_prefix = "router_state.";

std::string checkpoints_directory(const std::string& run_directory) {
  return join_path(run_directory, "checkpoints");
}

}  // namespace

Snapshot Trainer::snapshot() {
  Context& context = runtime_.context();
  ParameterStore& store = model_.parameters();
  Snapshot snapshot;
  snapshot.step = step_;
  snapshot.tokens = tokens_;
  snapshot.config = config_json(config_);
  snapshot.data = {{"next_sample", step_ * config_.train.global_batch_size}};
  snapshot.world = {{"size", runtime_.world().size()}, {"expert", config_.parallel.expert}};
  snapshot.trainer = {{"seconds", seconds_}, {"attempt", metrics_->attempt()}, {"artel", ARTEL_VERSION}};
  append_pieces(context, store, store.values(), "", snapshot.pieces);
  append_pieces(context, store, optimizer_->exp_avg(), moment_prefixes[0], snapshot.pieces);
  append_pieces(context, store, optimizer_->exp_avg_sq(), moment_prefixes[1], snapshot.pieces);
  if (store.dtype() != DType::f32) append_pieces(context, store, store.masters(), master_prefix, snapshot.pieces);
  for (const RouterState& state : model_.router_state()) {
    append_piece(context, router_state_prefix + state.name, state.tensor, snapshot.pieces);
  }
  return snapshot;
}

void Trainer::save() {
  if (saved_step_ == step_) return;
  saved_step_ = step_;
  report_write_error(writer_->wait());
  writer_->start(snapshot());
}

void Trainer::report_write_error(const std::string& error) {
  if (error.empty()) return;
  Json row;
  row["step"] = step_;
  row["event"] = "checkpoint_failed";
  row["error"] = error;
  write_row(row);
  log_.warn("a checkpoint could not be written; training goes on and older checkpoints stand: " + error);
}

void Trainer::load(const Checkpoint& checkpoint) {
  Context& context = runtime_.context();
  ParameterStore& store = model_.parameters();
  const Config saved =
      config_from_json(json_member(checkpoint.manifest(), "config", checkpoint.path()), checkpoint.path());
  for (const ConfigChange& change : require_resumable(saved, config_, options_.allow_changes, checkpoint.path())) {
    log_.warn(concat("resuming with ", change.key, " changed from ", change.before, " to ", change.after));
  }
  if (store.dtype() != DType::f32) {
    read_pieces(context, store, checkpoint, master_prefix, store.masters());
    store.refresh_values(context);
  } else {
    read_pieces(context, store, checkpoint, "", store.values());
  }
  read_pieces(context, store, checkpoint, moment_prefixes[0], optimizer_->exp_avg());
  read_pieces(context, store, checkpoint, moment_prefixes[1], optimizer_->exp_avg_sq());
  for (const RouterState& state : model_.router_state()) {
    read_piece(context, checkpoint, router_state_prefix + state.name, state.tensor);
  }
  step_ = checkpoint.step();
  tokens_ = checkpoint.tokens();
  saved_step_ = step_;
  seconds_ = checkpoint.manifest().value("/trainer/seconds"_json_pointer, 0.0);
  log_.info(concat("resumed from ", checkpoint.path(), " at step ", step_));
}

void Trainer::resume() {
  const std::string directory = checkpoints_directory(run_directory_);
  const auto warn = [this](const std::string& text) { log_.warn(text); };
  if (options_.resume == "never") {
    if (files_.exists(join_path(run_directory_, "metrics.jsonl"))) {
      fail("run", concat("required a new run directory with --resume never, found ", run_directory_,
                         " in use; choose another run.name, or --resume auto to go on"));
    }
  } else if (options_.resume == "auto") {
    const auto newest = open_newest(files_, directory, warn);
    if (newest) return load(*newest);
    const std::vector<std::string> damaged = list_checkpoints(files_, directory);
    if (!damaged.empty()) {
      fail("run", concat("required a checkpoint that verifies in ", directory, ", found ", damaged.size(),
                         " and all damaged; move them away to start anew"));
    }
  } else {
    const std::string inside = checkpoints_directory(options_.resume);
    if (files_.exists(inside)) {
      const auto newest = open_newest(files_, inside, warn);
      if (!newest) fail("run", concat("required a checkpoint that verifies in ", inside, ", found none"));
      return load(*newest);
    }
    return load(Checkpoint(files_, options_.resume));
  }
  model_.initialise(runtime_.context(), config_.run.seed);
}

void Trainer::open_run_directory() {
  files_.make_directory(checkpoints_directory(run_directory_));
  write_file_atomic(files_, join_path(run_directory_, "config.yaml"), dump_config(config_));
  metrics_ = std::make_unique<MetricsFile>(files_, join_path(run_directory_, "metrics.jsonl"));
  writer_ = std::make_unique<BackgroundWriter>(files_, checkpoints_directory(run_directory_), config_.checkpoint.keep);
  write_summary();
  if (metrics_->attempt() > 1) {
    Json row;
    row["step"] = step_;
    row["event"] = "resumed";
    row["allowed_changes"] = options_.allow_changes;
    write_row(row);
  }
}

void Trainer::write_summary() {
  const Json described = describe_json(config_, {runtime_.world().size(), runtime_.dtype() == DType::bf16});
  Json summary;
  summary["name"] = config_.run.name;
  summary["routing"] = config_.model.num_experts > 0 ? config_.model.routing.type : "dense";
  summary["parameters"] = described["parameters"];
  summary["flops_per_token"] = described["flops_per_token"];
  summary["seed"] = config_.run.seed;
  summary["device"] = runtime_.device();
  summary["precision"] = runtime_.precision();
  summary["threads"] = runtime_.num_threads();
  summary["config"] = config_json(config_);
  write_file_atomic(files_, join_path(run_directory_, "summary.json"), dump_json(summary, 2) + "\n");
}

}  // namespace artel
