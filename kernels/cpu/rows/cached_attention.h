#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

template <class T>
struct CachedAttentionRows {
  /// y [head_dim] = softmax(scale · query · keys^T) · values for one query. keys and values [num_keys, head_dim], rows
  /// `stride` elements apart; num_keys >= 1. scores: room for num_keys rounded up to a multiple of 16.
  void (*attend)(const T* query, const T* keys, const T* values, std::int64_t num_keys, std::int64_t stride,
                 std::int64_t head_dim, float scale, float* scores, T* y);
};

ARTEL_DECLARE_ROWS(CachedAttentionRows<float>, cached_attention_rows_f32)
ARTEL_DECLARE_ROWS(CachedAttentionRows<bf16>, cached_attention_rows_bf16)

}  // namespace artel::cpu
