#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/background_writer.h"
#include "checkpoint/store.h"
#include "data/loader.h"
#include "model/transformer.h"
#include "optim/adamw.h"
#include "train/metrics.h"
#include "train/runtime.h"
#include "train/train_step.h"

namespace artel {

struct TrainOptions {
  std::string resume = "auto";             ///< auto | never | path of a checkpoint or run directory
  std::vector<std::string> allow_changes;  ///< keys that may differ from the checkpoint's config
  std::string resume_command;              ///< printed after a stop by signal
};

/// One training run: a model, its data, its optimizer and its run directory.
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
  std::int64_t step() const { return step_; }

 private:
  void open_validation_sets();
  void open_run_directory();
  void resume();
  void load(const Checkpoint& checkpoint);
  void write_summary();
  StepOutcome train_one_step();
  void write_step_row(const StepOutcome& outcome, double step_seconds);
  void handle_bad_step(const StepOutcome& outcome);
  void validate();
  void save();
  void report_write_error(const std::string& error);
  void write_row(const Json& row);
  Snapshot snapshot();

  Config config_;
  Runtime& runtime_;
  FileLayer& files_;
  Log& log_;
  TrainOptions options_;
  std::string run_directory_;
  Transformer model_;
  std::unique_ptr<DataLoader> loader_;
  std::vector<std::pair<std::string, std::unique_ptr<ValidationReader>>> validation_sets_;
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<MetricsFile> metrics_;
  std::unique_ptr<BackgroundWriter> writer_;
  Batch batch_;
  std::int64_t step_ = 0;
  std::int64_t tokens_ = 0;
  double seconds_ = 0.0;  ///< spent in training steps, over all attempts
  std::int64_t saved_step_ = -1;
  int num_bad_steps_ = 0;
};

}  // namespace artel
