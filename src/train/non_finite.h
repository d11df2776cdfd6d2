#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "train/train_step.h"

namespace artel {

/// Where a training step first met NaN or an infinity.
struct NonFiniteReport {
  std::int64_t layer = -1;  ///< -1: outside of the layers
  /// Of a pass: a name that the model gives to watch() ("mlp.router.probs", "self_attn", "logits"). Of a parameter or
  /// its gradient: the stored name. Empty: nothing was found when the step was repeated.
  std::string tensor;
  /// "parameter": the weights were bad before the step; "forward"; "backward".
  std::string direction;
  /// Rows of the batch whose own pass shows it at the same place, ascending; the whole micro-batch if no row does so
  /// alone; none for a parameter.
  std::vector<std::int64_t> samples;
  /// How many looks were taken before it, the same for one place on every rank: the least came first.
  std::int64_t order = 0;
};

/// Repeats a step whose loss or gradient was not finite, which has changed nothing, and looks for the origin: at the
/// parameters; then in every micro-batch at the named tensors in forward order, at their gradients in backward order
/// and at the gradients of the parameters; then sequence by sequence in the micro-batch where it was found. Costs about
/// two steps; gradients and routing statistics of the step are overwritten. Every rank runs the same passes.
NonFiniteReport locate_non_finite(Context& context, Transformer& model, const Batch& batch, const StepOptions& options);

/// The name of the first piece with a value that is NaN or infinite; empty: all are finite.
std::string non_finite_tensor(const std::vector<TensorPiece>& pieces);

}  // namespace artel
