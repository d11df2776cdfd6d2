// The parts of Trainer that deal with its run directory and checkpoints.

#include "checkpoint/parameters.h"
#include "config/changes.h"
#include "config/yaml.h"
#include "model/count.h"
#include "train/load_model.h"
#include "train/non_finite.h"
#include "train/resume_checks.h"
#include "train/trainer.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr const char* moment_prefixes[] = {"optimizer.exp_avg.", "optimizer.exp_avg_sq."};
constexpr const char* master_prefix = "optimizer.master.";

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
  snapshot.data = {{"next_sample", step_ * config_.train.global_batch_size}, {"sources", data_sources_json(*loader_)}};
  snapshot.world = {{"size", runtime_.world().size()}, {"expert", config_.parallel.expert}};
  snapshot.trainer = {{"seconds", seconds_},
                      {"attempt", metrics_ ? metrics_->attempt() : 0},
                      {"artel", ARTEL_VERSION},
                      {"bad_steps", num_bad_steps_},
                      {"spikes", spike_detector_.state()}};
  // Every rank writes its own pieces, which together are the model once.
  const auto append = [&](const Tensor& compact, const ArenaRanges& held, const char* prefix) {
    append_pieces(context, store, compact, held, own_pieces_, prefix, snapshot.pieces);
  };
  append(store.values(), ArenaRanges::whole(store.num_elements()), "");
  append(optimizer_->exp_avg(), store.owned(), moment_prefixes[0]);
  append(optimizer_->exp_avg_sq(), store.owned(), moment_prefixes[1]);
  if (store.has_masters()) append(store.masters(), store.owned(), master_prefix);
  for (const RouterState& state : model_.router_state()) {
    if (leads()) append_piece(context, router_state_prefix + state.name, state.tensor, snapshot.pieces);
  }
  return snapshot;
}

void Trainer::save() {
  if (saved_step_ == step_) return;
  saved_step_ = step_;
  report_write_error(writer_->finish());
  const TraceSpan span(runtime_.context().tracer, TraceKind::phase, "checkpoint_snapshot");
  Snapshot taken = snapshot();
  save_refused_ = refuse_non_finite(taken);
  if (save_refused_.empty()) report_write_error(writer_->start(std::move(taken)));
}

// A checkpoint that holds NaN or an infinity is worth less than the one before it, which it would push out. Returns why
// it is not written.
std::string Trainer::refuse_non_finite(const Snapshot& taken) {
  std::string tensor;
  for (const std::string& name : mesh_.world().all_gather_text(non_finite_tensor(taken.pieces), Purpose::checkpoint)) {
    if (tensor.empty()) tensor = name;
  }
  if (tensor.empty()) return {};
  Json row;
  row["step"] = step_;
  row["event"] = "checkpoint_refused";
  row["tensor"] = tensor;
  write_row(row);
  log_.warn(concat("step ", step_, ": no checkpoint was written, because ", tensor,
                   " holds NaN or an infinity; older checkpoints stand"));
  return tensor;
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

// Logs the changes that are allowed, and keeps them for the row.
void Trainer::check_resumable(const Checkpoint& checkpoint) {
  const Config saved = checkpoint_config(checkpoint);
  std::vector<ConfigChange> noted = config_changes(saved, config_);
  std::vector<ConfigChange> allowed = require_resumable(saved, config_, options_.allow_changes, checkpoint.path());
  for (const ConfigChange& change : require_same_data(checkpoint, *loader_, options_.allow_changes)) {
    noted.push_back(change);
    allowed.push_back(change);
  }
  for (const ConfigChange& change : allowed) {
    log_.warn(concat("resuming with ", change.key, " changed from ", change.before, " to ", change.after));
  }
  if (config_.train.steps < checkpoint.step()) {
    fail("train.steps",
         concat("required at least ", checkpoint.step(), ", the step of ", checkpoint.path(), ", found ",
                config_.train.steps, "; raise it, or resume from an older checkpoint under another run.name"));
  }
  for (const std::string& warning : {require_same_order(checkpoint, saved, config_, *loader_, options_.allow_changes),
                                     learning_rate_change(checkpoint, saved, config_)}) {
    if (!warning.empty()) log_.warn(warning);
  }
  resumed_row_["from"] = checkpoint.path();
  resumed_row_["changes"] = Json::array();
  for (const ConfigChange& change : noted) {
    resumed_row_["changes"].push_back({{"key", change.key}, {"before", change.before}, {"after", change.after}});
  }
}

void Trainer::load(const Checkpoint& checkpoint) {
  Context& context = runtime_.context();
  ParameterStore& store = model_.parameters();
  check_resumable(checkpoint);
  if (!checkpoint.contains(concat(moment_prefixes[0], "model.embed_tokens.weight"))) {
    fail("run", concat("required a checkpoint with the optimizer's state to resume from, found weights alone in ",
                       checkpoint.path(), "; start a new run with train.init_from"));
  }
  read_pieces(context, store, checkpoint, "", store.values());
  if (store.has_masters()) read_pieces(context, store, checkpoint, master_prefix, store.masters(), store.owned());
  read_pieces(context, store, checkpoint, moment_prefixes[0], optimizer_->exp_avg(), store.owned());
  read_pieces(context, store, checkpoint, moment_prefixes[1], optimizer_->exp_avg_sq(), store.owned());
  load_router_state(context, checkpoint, model_);
  step_ = checkpoint.step();
  tokens_ = checkpoint.tokens();
  // A run that forks off another one's checkpoint has none of its own yet.
  if (parent_directory(checkpoint.path()) == checkpoints_directory(run_directory_)) saved_step_ = step_;
  seconds_ = checkpoint.manifest().value("/trainer/seconds"_json_pointer, 0.0);
  num_bad_steps_ = checkpoint.manifest().value("/trainer/bad_steps"_json_pointer, std::int64_t{0});
  spike_detector_.restore(checkpoint.manifest().value("/trainer/spikes"_json_pointer, Json::object()),
                          checkpoint.path());
  log_.info(concat("resumed from ", checkpoint.path(), " at step ", step_));
}

// The checkpoint to go on from, verified; empty: start anew.
std::string Trainer::find_checkpoint() {
  const auto warn = [this](const std::string& text) { log_.warn(text); };
  const std::string directory = checkpoints_directory(run_directory_);
  if (options_.resume.empty()) {
    fail("run", "--resume required auto, never or the path of a checkpoint, found an empty text");
  }
  if (options_.resume == "never") {
    if (files_.exists(join_path(run_directory_, "metrics.jsonl"))) {
      fail("run", concat("required a new run directory with --resume never, found ", run_directory_,
                         " in use; choose another run.name, or --resume auto to go on"));
    }
    return {};
  }
  if (options_.resume == "auto") {
    const auto newest = open_newest(files_, directory, warn);
    if (newest) return newest->path();
    const std::vector<std::string> damaged = list_checkpoints(files_, directory);
    if (!damaged.empty()) {
      fail("run", concat("required a checkpoint that verifies in ", directory, ", found ", damaged.size(),
                         " and all damaged; move them away to start anew"));
    }
    return {};
  }
  return checkpoint_at(options_.resume);
}

std::string Trainer::checkpoint_at(const std::string& path) {
  const std::string inside = checkpoints_directory(path);
  if (!files_.exists(inside)) return path;
  const auto newest = open_newest(files_, inside, [this](const std::string& text) { log_.warn(text); });
  if (!newest) fail("run", concat("required a checkpoint that verifies in ", inside, ", found none"));
  return newest->path();
}

void Trainer::start_from(const std::string& path) {
  Context& context = runtime_.context();
  ParameterStore& store = model_.parameters();
  const Checkpoint checkpoint(files_, path);
  const std::vector<ConfigChange> changes = function_changes(checkpoint_config(checkpoint).model, config_.model);
  if (!changes.empty()) {
    fail("train.init_from", concat("required the model of ", path, ", found a change of ", change_list(changes),
                                   "; set these keys as they were, or make a checkpoint of another kind of model with "
                                   "artel import"));
  }
  load_model(context, checkpoint, model_);
  // The finest weights that there are.
  const char* prefix = checkpoint.contains(concat(master_prefix, "model.embed_tokens.weight")) ? master_prefix : "";
  if (store.has_masters()) {
    read_pieces(context, store, checkpoint, prefix, store.masters(), store.owned());
  } else if (*prefix != '\0') {
    read_pieces(context, store, checkpoint, prefix, store.values());
  }
  log_.info(concat("weights from ", path, ", step ", checkpoint.step()));
}

void Trainer::resume() {
  // One rank chooses and verifies, so that all load the same one.
  const std::string path =
      mesh_.world().all_gather_text(leads() ? find_checkpoint() : std::string(), Purpose::checkpoint).front();
  if (!path.empty()) return load(Checkpoint(files_, path));
  if (config_.train.init_from.empty()) return model_.initialise(runtime_.context(), config_.run.seed);
  start_from(mesh_.world()
                 .all_gather_text(leads() ? checkpoint_at(config_.train.init_from) : std::string(), Purpose::checkpoint)
                 .front());
}

void Trainer::open_run_directory() {
  if (leads()) {
    files_.make_directory(checkpoints_directory(run_directory_));
    // Reads what is there before anything in the directory changes.
    metrics_ = std::make_unique<MetricsFile>(files_, join_path(run_directory_, "metrics.jsonl"));
    write_file_atomic(files_, join_path(run_directory_, "config.yaml"), dump_config(config_));
    open_metrics();
    write_summary();
  }
  mesh_.world().barrier();
  if (!files_.exists(join_path(run_directory_, "summary.json"))) {
    fail("run.directory", concat("required a directory that all ranks see, found no ", run_directory_,
                                 "/summary.json on rank ", mesh_.world().rank(), "; use a shared file system"));
  }
  profiler_ = std::make_unique<StepProfiler>(runtime_.context(), files_, log_, run_directory_, config_.run.name,
                                             leads() ? options_.profile_steps : 0);
  writer_ = std::make_unique<CheckpointWriter>(files_, checkpoints_directory(run_directory_), config_.checkpoint.keep,
                                               mesh_.world());
}

void Trainer::open_metrics() {
  if (config_.run.tensorboard) {
    // After a resume the next row is that of the next step; a new run begins with the validation of step 0.
    const std::int64_t first_step = step_ == 0 ? 0 : step_ + 1;
    tensorboard_ = std::make_unique<TensorBoardFile>(files_, join_path(run_directory_, "tensorboard"), first_step);
  }
  if (metrics_->attempt() > 1 || !resumed_row_.is_null()) {
    Json row;
    row["step"] = step_;
    row["event"] = "resumed";
    row.update(resumed_row_.is_null() ? Json::object() : resumed_row_);
    row["allowed_changes"] = options_.allow_changes;
    write_row(row);
  }
}

void Trainer::write_summary() {
  const Json described = describe_json(config_, {.world = runtime_.world().size(),
                                                 .device = runtime_.context().backend.device(),
                                                 .bf16 = runtime_.dtype() == DType::bf16});
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
