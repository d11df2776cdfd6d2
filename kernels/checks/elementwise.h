#pragma once

#include "kernels/backend.h"

namespace artel {

/// Arguments of Backend::fill.
void check_fill(Out x, float value);

/// Arguments of Backend::copy and Backend::add, whichever `op` names.
void check_elementwise(const char* op, In x, Out y);

/// Arguments of Backend::swap_leading.
void check_swap_leading(In x, Out y);

}  // namespace artel
