#pragma once

#include <cstdint>
#include <vector>

#include "data/loader.h"
#include "model/transformer.h"
#include "optim/adamw.h"

namespace artel {

struct StepOptions {
  std::int64_t step = 1;
  std::int64_t micro_batch_size = 1;  ///< sequences
  std::int64_t tokens_per_step = 0;   ///< over all ranks and micro-batches
  double lr = 0.0;
  bool recompute_blocks = false;
};

struct StepOutcome {
  double loss = 0.0;      ///< mean over the tokens of the step, in nats
  double aux_loss = 0.0;  ///< mean over layers, without coefficient
  StepResult update;
  std::vector<LayerStatistics> layers;
};

/// One optimizer step: forward and backward over the micro-batches of `batch`, then the update. When the gradient is
/// not finite nothing is changed (StepResult::applied).
StepOutcome run_step(Context& context, Transformer& model, AdamW& optimizer, const Batch& batch,
                     const StepOptions& options);

}  // namespace artel
