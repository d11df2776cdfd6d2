#pragma once

namespace artel {

/// What every element of one AdamW update shares, derived from AdamWOptions in f64. Without functions: it is compiled
/// for several instruction sets and for GPUs.
struct AdamWFactors {
  float beta1;
  float beta2;
  float eps;
  float decay;        ///< 1 - lr·weight_decay
  float step_size;    ///< lr / (1 - beta1^step)
  float denom_scale;  ///< 1 / sqrt(1 - beta2^step)
};

}  // namespace artel
