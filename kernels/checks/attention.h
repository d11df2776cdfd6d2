#pragma once

#include "kernels/backend.h"

namespace artel {

/// The sizes make sense: nothing negative, num_kv_heads divides num_heads, head_dim even.
void check_attention_shape(const char* op, const AttentionShape& shape);

/// The shape of queries, keys and values side by side: [T, H + 2J, h].
inline Shape qkv_shape(const AttentionShape& shape) {
  return {shape.num_tokens(), shape.num_qkv_heads(), shape.head_dim};
}

}  // namespace artel
