#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "data/loader.h"
#include "model/transformer.h"
#include "ops/read_back.h"
#include "optim/adamw.h"
#include "train/gradient_sync.h"

namespace artel {

struct StepOptions {
  std::int64_t step = 1;
  std::int64_t micro_batch_size = 1;  ///< sequences
  std::int64_t tokens_per_step = 0;   ///< over all ranks and micro-batches
  double lr = 0.0;
  bool recompute_blocks = false;
  GradientSync* sync = nullptr;  ///< sums over the ranks; none on one rank
};

struct StepOutcome {
  double loss = 0.0;      ///< mean over the tokens of the step, in nats
  double aux_loss = 0.0;  ///< mean over layers, without coefficient
  double z_loss = 0.0;    ///< the same of the z-loss
  bool finite = false;    ///< the loss and the gradient's norm are numbers to train on
  StepResult update;
  std::vector<LayerStatistics> layers;
};

/// A step whose figures are on their way to the host.
struct StepInFlight {
  StepOptions options;
  std::vector<Tensor> losses;  ///< of the micro-batches, f64 [1]
  std::vector<ReadBack<double>> loss_values;
  std::vector<NotedStatistics> layers;
  std::optional<ReadBack<double>> figures;  ///< AdamW::figures
  std::optional<ReadBack<float>> scale;     ///< AdamW::scale
};

/// Asked before the update with the loss and the gradient's norm, both finite and the same on every rank; false leaves
/// everything as it is.
using AcceptStep = std::function<bool(double loss, double grad_norm)>;

/// One optimizer step: forward and backward over the micro-batches of `batch` (this rank's sequences), then the update.
/// Everything in the outcome is over all ranks. When the loss or the gradient is not finite, the gradient so large that
/// its squares are not, or `accept` says no, nothing is changed (StepResult::applied).
StepOutcome run_step(Context& context, Transformer& model, AdamW& optimizer, const Batch& batch,
                     const StepOptions& options, const AcceptStep& accept = {});

/// The same in three parts, of which only the last waits for the device (apart from what the experts' counts are waited
/// for): a device can go on with the next step's passes before the host knows what came of this one. Without
/// AcceptStep. Forward and backward; the gradients are summed over the ranks.
StepInFlight start_passes(Context& context, Transformer& model, const Batch& batch, const StepOptions& options);
/// The update, or nothing, as the device decides.
void start_update(Context& context, AdamW& optimizer, StepInFlight& step);
/// What came of it.
StepOutcome finish_step(Context& context, Transformer& model, StepInFlight step);

/// Loss of sequences first .. first + count - 1 of `batch` as run_step computes it, recorded for backward.
Variable micro_batch_loss(Context& context, Transformer& model, const Batch& batch, std::int64_t first,
                          std::int64_t count, const StepOptions& options);

}  // namespace artel
