#pragma once

#include "kernels/backend.h"

namespace artel {

/// Arguments of Backend::embedding and Backend::embedding_backward, but for the values of the ids.
void check_embedding(In table, In ids, Out y);
void check_embedding_backward(In ids, In dy, InOut dtable);

}  // namespace artel
