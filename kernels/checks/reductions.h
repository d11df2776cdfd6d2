#pragma once

#include "kernels/backend.h"

namespace artel {

/// Arguments of Backend::sum and Backend::sum_of_squares, whichever `op` names.
void check_reduction(const char* op, In x, Out sum);
/// Arguments of Backend::add_up.
void check_add_up(In x, InOut sum);

}  // namespace artel
