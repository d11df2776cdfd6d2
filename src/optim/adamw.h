#pragma once

#include <functional>

#include "config/schema.h"
#include "nn/parameter.h"

namespace artel {

struct StepResult {
  double grad_norm = 0.0;  ///< global L2 norm before clipping
  bool applied = false;    ///< false: the norm was not finite and nothing was changed
};

/// AdamW over the elements that the store's rank owns, with clipping by the global norm. Weight decay where
/// Parameter::weight_decay says so. Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
class AdamW {
 public:
  /// Adds a value over the ranks, in rank order.
  using SumOverRanks = std::function<double(double)>;

  /// `counted`: the elements whose gradients this rank counts in the global norm; every element of the model is counted
  /// on one rank. All that is owned, when there is one rank.
  AdamW(Context& context, ParameterStore& store, const OptimizerConfig& config);
  AdamW(Context& context, ParameterStore& store, const OptimizerConfig& config, ArenaRanges counted);

  /// Global L2 norm of the gradients in the store.
  double grad_norm(Context& context, const SumOverRanks& sum_over_ranks = {});
  /// Whether a gradient of this norm may be applied: the norm is finite, and the gradient, clipped, small enough for
  /// its squares to be finite in fp32. A second moment that is infinite once stays so.
  bool accepts(double grad_norm) const;
  /// One update with this learning rate, clipped by the norm just taken, which must be finite; `step` is 1 for the
  /// first.
  void update(Context& context, double lr, std::int64_t step, double grad_norm);
  /// Both, for one rank; nothing is changed when the norm is not accepted.
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
  Tensor grad_scale_;       ///< [1] f32
};

}  // namespace artel
