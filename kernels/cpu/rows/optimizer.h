#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/adamw_factors.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

struct OptimizerRows {
  /// One pass over n elements; param, if not null, = master rounded to bf16.
  void (*adamw)(std::int64_t n, const AdamWFactors& factors, float grad_scale, const float* grad, float* master,
                float* exp_avg, float* exp_avg_sq, bf16* param);
};
ARTEL_DECLARE_ROWS(OptimizerRows, optimizer_rows)

}  // namespace artel::cpu
