#pragma once

#include "kernels/backend.h"

namespace artel {

/// Arguments of Backend::swiglu and Backend::swiglu_backward.
void check_swiglu(In gate_up, In weights, Out hidden);
void check_swiglu_backward(In gate_up, In weights, In dhidden, Out dgate_up, Out dweights);

}  // namespace artel
