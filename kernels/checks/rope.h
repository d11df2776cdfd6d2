#pragma once

#include "kernels/backend.h"

namespace artel {

// Each returns the type of the activations. Whether there are norms is a matter of q_norm.

DType check_rope(In qkv, In cos_sin, const AttentionShape& shape, In q_norm, In k_norm, Out y, Out rstd);
DType check_rope_backward(In dy, In cos_sin, const AttentionShape& shape, In qkv, In q_norm, In k_norm, In rstd,
                          Out dqkv, InOut dq_norm, InOut dk_norm);

}  // namespace artel
