#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/backend.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

/// Results of the top-K choice over T tokens of N experts.
struct TopKResult {
  float* probs = nullptr;       ///< [T, N]
  float* lse = nullptr;         ///< [T]
  std::int32_t* ids = nullptr;  ///< [T, K]
  float* weights = nullptr;     ///< [T, K]
};

/// What the backward of the choice reads.
struct TopKGradient {
  const float* probs = nullptr;       ///< [T, N]
  const float* lse = nullptr;         ///< [T]
  const std::int32_t* ids = nullptr;  ///< [T, K]
  const float* weights = nullptr;     ///< [T, K]
  const float* dweights = nullptr;    ///< [T, K] or null: zero
  const float* balance = nullptr;     ///< [M, N] or null: no balance loss
  std::int64_t tokens_per_set = 1;    ///< tokens that share a row of `balance`
  float z_scale = 0.0F;
};

/// Tokens begin .. end-1 of all T; pointers are those of token 0.
struct RoutingRows {
  /// scores [T, N]; bias [N] or null; keys: scratch of N rounded up to a multiple of 16.
  void (*choose)(const float* scores, const float* bias, std::int64_t num_experts, const TopKOptions& options,
                 std::int32_t* keys, const TopKResult& result, std::int64_t begin, std::int64_t end);
  /// dscores [T, N] = .
  void (*backward)(const TopKGradient& gradient, std::int64_t num_experts, const TopKOptions& options, float* dscores,
                   std::int64_t begin, std::int64_t end);
  /// sums [num_columns] = sums over the rows of x [num_rows, num_columns], whose rows lie `stride` elements apart.
  void (*column_sums)(const float* x, std::int64_t stride, std::int64_t num_rows, std::int64_t num_columns,
                      float* sums);
  /// sums [2] = sums of the entropies and of the margins of the rows of probs [T, N], whose choices are the slots
  /// offsets [T + 1] of ids. row: scratch of N.
  void (*statistics)(const float* probs, const std::int32_t* ids, const std::int32_t* offsets, std::int64_t num_experts,
                     float* row, std::int64_t begin, std::int64_t end, double* sums);
};

template <class T>
struct RowNormRows {
  /// norms [num_rows] = L2 norms of the rows of x [num_rows, size].
  void (*norms)(const T* x, std::int64_t num_rows, std::int64_t size, float* norms);
  /// dx [num_rows, size] = or += dnorm · x / norm, 0 where the norm is 0.
  void (*backward)(const T* x, const float* norms, const float* dnorms, std::int64_t num_rows, std::int64_t size, T* dx,
                   bool accumulate);
};

ARTEL_DECLARE_ROWS(RoutingRows, routing_rows)
ARTEL_DECLARE_ROWS(RowNormRows<float>, row_norm_rows_f32)
ARTEL_DECLARE_ROWS(RowNormRows<bf16>, row_norm_rows_bf16)

}  // namespace artel::cpu
