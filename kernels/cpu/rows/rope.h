#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

/// A token has query heads, key heads, value heads, one after the other, each of `head_dim` elements.
struct RopeShape {
  std::int64_t sequence_length;
  std::int64_t num_heads;     ///< queries
  std::int64_t num_kv_heads;  ///< keys; as many values
  std::int64_t head_dim;
  const std::int32_t* document_starts;  ///< of every token, or null: 0
};

/// Tokens begin .. end-1 of whole tensors. Norms are null or both given; rstd [tokens, num_heads + num_kv_heads].
template <class T>
struct RopeRows {
  void (*forward)(const RopeShape& shape, std::int64_t begin, std::int64_t end, const T* qkv, const float* cos_sin,
                  const T* q_norm, const T* k_norm, float eps, T* y, float* rstd);
  /// dnorms [2, head_dim] = the sums over these tokens alone, for queries and keys (without norms: not touched).
  void (*backward)(const RopeShape& shape, std::int64_t begin, std::int64_t end, const T* dy, const float* cos_sin,
                   const T* qkv, const T* q_norm, const T* k_norm, const float* rstd, T* dqkv, float* dnorms);
};

ARTEL_DECLARE_ROWS(RopeRows<float>, rope_rows_f32)
ARTEL_DECLARE_ROWS(RopeRows<bf16>, rope_rows_bf16)

}  // namespace artel::cpu
