#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_writer.h"
#include "checkpoint/store.h"
#include "data/choice_task.h"
#include "data/loader.h"
#include "model/transformer.h"
#include "optim/adamw.h"
#include "train/metrics.h"
#include "train/profiler.h"
#include "train/progress.h"
#include "train/runtime.h"
#include "train/spike_detector.h"
#include "train/tensorboard.h"
#include "train/train_step.h"
#include "train/validation_sample.h"

namespace artel {

struct TrainOptions {
  std::string resume = "auto";             ///< auto | never | path of a checkpoint or run directory
  std::vector<std::string> allow_changes;  ///< keys that may differ from the checkpoint's config
  std::string resume_command;              ///< printed after a stop by signal
  std::int64_t profile_steps = 0;          ///< steps whose times are written (train/profiler.h); 0: none
  /// Whether figures of a step are looked at during the next one (Trainer); none: on a GPU.
  std::optional<bool> late_figures = std::nullopt;
};

/// One training run: a model, its data, its optimizer and its run directory.
///
/// A GPU is not waited for at the end of a step: whether the step is applied is decided there, and the host reads the
/// figures, writes the row and looks for faults after the next step's passes are on their way and before its update is.
/// A refused step has changed nothing, so those passes stand; where they were disturbed by the search for the fault
/// they are run again. Steps that something follows which needs the model (validation, a checkpoint, the comparison of
/// copies, the end) are read at once, and so is every step where the host has a say (spike_action: skip) or where a
/// routing method has state of its own.
class Trainer {
 public:
  /// Opens data and the run directory, builds the model, and resumes or initialises it. Errors: anything that the user
  /// has to put right, before a byte of the run directory is changed where that can be known.
  Trainer(const Config& config, Runtime& runtime, FileLayer& files, Log& log, const TrainOptions& options);
  ~Trainer();

  /// Trains to train.steps, or until `should_stop`, asked between steps, says so; then saves and returns. True when the
  /// last step was reached.
  bool run(const std::function<bool()>& should_stop = {});

  Transformer& model() { return model_; }
  /// The elements that this rank sums the gradients of and writes to checkpoints.
  const ArenaRanges& own_pieces() const { return own_pieces_; }
  const std::vector<GradientBucket>& buckets() const { return buckets_; }
  std::int64_t step() const { return step_; }

 private:
  /// A step that has run, or is under way on the device.
  struct StepRecord {
    std::int64_t step = 0;
    std::int64_t tokens = 0;  ///< trained on up to its end
    double step_seconds = 0.0;
    double seconds = 0.0;  ///< of training up to its end
    StepOptions options;
    Batch batch;
    StepInFlight flight;  ///< until its figures are read
    std::optional<StepOutcome> outcome;
    CommunicationCounters traffic;  ///< of this rank in this step
  };

  void allocate_model();
  void open_validation_sets();
  /// The tasks' part of a validation row; null without tasks.
  Json evaluate_tasks();
  void open_run_directory();
  void open_metrics();
  std::string find_checkpoint();
  bool agree_to_stop(const std::function<bool()>& should_stop);
  /// Errors: copies of parameters that differ between ranks.
  void check_replicas();
  /// Logs the most memory that tensors and transfers took on this rank.
  void report_memory();
  /// Counts what this rank sent and waited since the last call as a step's, or as that of none.
  void count_traffic(StepRecord* record);
  /// Whether this rank writes what one rank writes for all.
  bool leads() const { return mesh_.world().rank() == 0; }
  void resume();
  /// The newest checkpoint that verifies of a run directory, or the checkpoint that the path itself names.
  std::string checkpoint_at(const std::string& path);
  /// The weights of another run, with a new optimizer at step 0.
  void start_from(const std::string& path);
  /// Errors: a config or data with which the run would not be the one that the checkpoint is of.
  void check_resumable(const Checkpoint& checkpoint);
  void load(const Checkpoint& checkpoint);
  void write_summary();
  /// False: the ranks agreed to stop before it, at the wish of should_stop or because one has no data.
  bool train_one_step(const std::function<bool()>& should_stop);
  void start_late(StepRecord& record);
  /// Whether the figures of the last step are wanted before the next one.
  bool pauses() const;
  /// Waits for the figures of the last step.
  void read_last();
  /// Writes its row and what there is to say of it. Whether its figures were finite: if not, the search for the cause
  /// may have gone over the gradients and statistics of passes that were under way.
  bool report_last();
  /// Reads this rank's sequences of the next step; what keeps it from that is noted in data_error_.
  void load_batch();
  /// Errors: what kept a rank from reading its data, on every rank.
  void require_data();
  void write_step_row(const StepRecord& record);
  StepOptions step_options(std::int64_t step) const;
  bool accept_step(double loss, double grad_norm);
  void report_faults(const StepRecord& record);
  void report_spikes(const StepRecord& record);
  Json find_origin(const StepRecord& record);
  void report_validation(const std::string& set, double loss);
  /// False, on every rank, when one cannot read a validation set; what keeps it from that is noted in data_error_.
  bool validate();
  void save();
  std::string refuse_non_finite(const Snapshot& taken);
  void report_write_error(const std::string& error);
  void write_row(const Json& row);
  Snapshot snapshot();

  Config config_;
  Runtime& runtime_;
  FileLayer& files_;
  Log& log_;
  TrainOptions options_;
  std::string run_directory_;
  Mesh mesh_;
  Transformer model_;
  std::vector<GradientBucket> buckets_;
  ArenaRanges own_pieces_;  ///< what this rank writes to checkpoints, and updates when state is sharded
  std::unique_ptr<DataLoader> loader_;
  std::vector<std::pair<std::string, std::unique_ptr<ValidationReader>>> validation_sets_;
  std::vector<std::int32_t> bytes_of_id_;  ///< for bits per byte; empty: not known
  std::vector<ChoiceTask> tasks_;
  std::optional<std::int32_t> document_end_;  ///< of the tasks' texts
  std::unique_ptr<ValidationSample> validation_sample_;
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<GradientSync> sync_;
  std::unique_ptr<MetricsFile> metrics_;  ///< of the rank that leads
  std::unique_ptr<TensorBoardFile> tensorboard_;
  std::unique_ptr<StepProfiler> profiler_;
  std::unique_ptr<CheckpointWriter> writer_;
  std::unique_ptr<Progress> progress_;
  Batch batch_;                     ///< of the next step
  std::optional<StepRecord> last_;  ///< the step that no row has been written of
  bool late_figures_ = false;
  std::exception_ptr data_error_;
  std::int64_t step_ = 0;
  std::int64_t tokens_ = 0;
  double seconds_ = 0.0;  ///< spent in training steps, over all attempts
  std::int64_t saved_step_ = -1;
  std::string save_refused_;  ///< the tensor that kept the last checkpoint from being written
  Json resumed_row_;          ///< where the run went on from, and with what changes
  SpikeDetector spike_detector_;
  std::vector<Spike> step_spikes_;  ///< of the last step
  std::int64_t num_bad_steps_ = 0;  ///< in a row
  CommunicationCounters traffic_;   ///< up to the last count_traffic
};

}  // namespace artel
