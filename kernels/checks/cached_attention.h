#pragma once

#include "kernels/backend.h"

namespace artel {

// Each returns the type of the activations.

DType check_store_keys_values(In qkv, const AttentionShape& shape, std::int64_t past, InOut cache);
DType check_cached_attention(In qkv, In cache, const AttentionShape& shape, std::int64_t past, Out y);

}  // namespace artel
