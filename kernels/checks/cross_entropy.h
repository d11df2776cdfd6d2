#pragma once

#include "kernels/backend.h"

namespace artel {

/// Arguments of Backend::cross_entropy, but for the values of the targets.
void check_cross_entropy(InOut logits, In targets, Out losses);

}  // namespace artel
