#pragma once

#include "kernels/backend.h"
#include "support/reference/types.h"

namespace artel::reference {

struct AdamWState {
  Vector master, exp_avg, exp_avg_sq;  ///< [n] each
};
/// One AdamW step with decoupled weight decay (Loshchilov & Hutter, ICLR 2019) on grad · grad_scale.
AdamWState adamw(const Vector& grad, double grad_scale, const AdamWOptions& options, AdamWState state);

}  // namespace artel::reference
