#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

/// What every element of one update shares.
struct AdamWFactors {
  float grad_scale;
  float beta1;
  float beta2;
  float eps;
  float decay;        ///< 1 - lr·weight_decay
  float step_size;    ///< lr / (1 - beta1^step)
  float denom_scale;  ///< 1 / sqrt(1 - beta2^step)
};

struct OptimizerRows {
  /// One pass over n elements; param, if not null, = master rounded to bf16.
  void (*adamw)(std::int64_t n, const AdamWFactors& factors, const float* grad, float* master, float* exp_avg,
                float* exp_avg_sq, bf16* param);
};
ARTEL_DECLARE_ROWS(OptimizerRows, optimizer_rows)

}  // namespace artel::cpu
