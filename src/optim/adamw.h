#pragma once

#include "config/schema.h"
#include "nn/parameter.h"

namespace artel {

struct StepResult {
  double grad_norm = 0.0;  ///< global L2 norm before clipping
  bool applied = false;    ///< false: a figure was not finite and nothing was changed
};

/// AdamW over the elements that the store's rank owns, with clipping by the global norm. Weight decay where
/// Parameter::weight_decay says so. Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
///
/// An update is measure(), then sums over the ranks in figures(), decide(), update(), and none of them waits for the
/// device: whether a step is applied is decided there.
class AdamW {
 public:
  /// `counted`: the elements whose gradients this rank counts in the global norm; every element of the model is counted
  /// on one rank. All that is owned, when there is one rank.
  AdamW(Context& context, ParameterStore& store, const OptimizerConfig& config);
  AdamW(Context& context, ParameterStore& store, const OptimizerConfig& config, ArenaRanges counted);

  /// figures() = the sum of squares of the counted gradients, and 0 for the step's loss.
  void measure(Context& context);
  /// [2] f64: the sum of squares of the gradient; the loss of the step. Of all ranks when decide() is called.
  const Tensor& figures() const { return figures_; }
  /// scale() from figures().
  void decide(Context& context);
  /// [1] f32: what update() multiplies the gradient with to clip it; NaN: it changes nothing (Backend::gradient_scale).
  const Tensor& scale() const { return scale_; }
  /// One update with this learning rate; `step` is 1 for the first.
  void update(Context& context, double lr, std::int64_t step);
  /// All of it, for one rank and without a loss; waits for what came of it.
  StepResult step(Context& context, double lr, std::int64_t step);

  const Tensor& exp_avg() const { return exp_avg_; }        ///< [owned] f32, compact
  const Tensor& exp_avg_sq() const { return exp_avg_sq_; }  ///< [owned] f32, compact

 private:
  /// A run of owned elements that share the decay.
  struct Range {
    std::int64_t begin;
    std::int64_t end;
    bool weight_decay;
  };

  ParameterStore& store_;
  OptimizerConfig config_;
  ArenaRanges counted_;
  std::vector<Range> ranges_;
  Tensor exp_avg_;
  Tensor exp_avg_sq_;
  Tensor sums_of_squares_;  ///< [runs of counted_] f64
  Tensor figures_;
  Tensor scale_;
};

}  // namespace artel
