#pragma once

#include "kernels/backend.h"

namespace artel {

/// The sizes make sense: nothing negative, num_kv_heads divides num_heads, head_dim even; document_starts has a number
/// for every token.
void check_attention_shape(const char* op, const AttentionShape& shape);

/// Whether attention on such a device has heads of this size: on a CPU up to 256, on a GPU 32, 64, 96 and 128.
bool takes_head_dim(Device device, std::int64_t head_dim);
/// Errors: another size. `where` names what asks for it.
void check_head_dim(const char* where, Device device, std::int64_t head_dim);

/// The shape of queries, keys and values side by side: [T, H + 2J, h].
inline Shape qkv_shape(const AttentionShape& shape) {
  return {shape.num_tokens(), shape.num_qkv_heads(), shape.head_dim};
}

// Each returns the type of the activations.

DType check_attention(In qkv, const AttentionShape& shape, Out y, Out lse);
DType check_attention_backward(In qkv, In y, In lse, In dy, const AttentionShape& shape, Out dqkv);

}  // namespace artel
