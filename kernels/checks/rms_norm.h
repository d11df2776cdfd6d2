#pragma once

#include "kernels/backend.h"

namespace artel {

// Each returns the type of the activations.

DType check_rms_norm(In x, In delta, In w, Out sum, Out y, Out rstd);
DType check_rms_norm_backward(In x, In w, In rstd, In dy, Out dx, InOut dw);

}  // namespace artel
