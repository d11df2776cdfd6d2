#pragma once

#include "config/schema.h"
#include "nn/parameter.h"

namespace artel {

struct StepResult {
  double grad_norm = 0.0;  ///< global L2 norm before clipping
  bool applied = false;    ///< false: the norm was not finite and nothing was changed
};

/// AdamW over the store's arenas, with clipping by the global norm. Weight decay where Parameter::weight_decay says so.
class AdamW {
 public:
  AdamW(Context& context, ParameterStore& store, const OptimizerConfig& config);

  /// One update from the gradients in the store with this learning rate; `step` is 1 for the first.
  StepResult step(Context& context, double lr, std::int64_t step);

  const Tensor& exp_avg() const { return exp_avg_; }        ///< [n] f32
  const Tensor& exp_avg_sq() const { return exp_avg_sq_; }  ///< [n] f32

 private:
  /// A run of the arenas whose elements share the decay.
  struct Range {
    std::int64_t begin;
    std::int64_t end;
    bool weight_decay;
  };

  ParameterStore& store_;
  OptimizerConfig config_;
  std::vector<Range> ranges_;
  Tensor exp_avg_;
  Tensor exp_avg_sq_;
  Tensor sum_of_squares_;  ///< [1] f64
  Tensor grad_scale_;      ///< [1] f32
};

}  // namespace artel
