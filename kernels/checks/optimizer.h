#pragma once

#include "kernels/adamw_factors.h"
#include "kernels/backend.h"

namespace artel {

/// Arguments of Backend::adamw; what its elements share.
AdamWFactors check_adamw(In grad, In grad_scale, const AdamWOptions& options, InOut master, InOut exp_avg,
                         InOut exp_avg_sq, Out param);

/// Arguments of Backend::gradient_scale.
void check_gradient_scale(In figures, Out scale);

}  // namespace artel
