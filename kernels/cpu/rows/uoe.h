#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/backend.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/rows/routing.h"

namespace artel::cpu {

// T tokens · N num_experts · S routing neurons per expert. Pointers are those of token 0.

template <class T>
struct BidsForward {
  const BidOptions& options;
  std::int64_t num_experts;
  std::int64_t num_neurons;
  const T* gate_up;  ///< [T, N, 2, S]
  float* bids;       ///< [T, N]
  TopKResult result;
  T* hidden;  ///< [T, N·S]
};

template <class T>
struct BidsBackward {
  const BidOptions& options;
  std::int64_t num_experts;
  std::int64_t num_neurons;
  const T* gate_up;   ///< [T, N, 2, S]
  const float* bids;  ///< [T, N]
  TopKGradient gradient;
  const T* dhidden;  ///< [T, N·S]
  T* dgate_up;       ///< [T, N, 2, S], apart from gate_up
};

/// Memory of one worker. "Whole": rounded up to a multiple of 16.
struct BidsScratch {
  float* neurons[2];   ///< [whole N·S + 16] each: what goes through it in whole vectors spills over its end
  float* experts[3];   ///< [whole N] each
  std::int32_t* keys;  ///< [whole N]
};

/// Tokens begin .. end-1.
template <class T>
struct UoeRows {
  void (*forward)(const BidsForward<T>& bids, const BidsScratch& scratch, std::int64_t begin, std::int64_t end);
  void (*backward)(const BidsBackward<T>& bids, const BidsScratch& scratch, std::int64_t begin, std::int64_t end);
};

ARTEL_DECLARE_ROWS(UoeRows<float>, uoe_rows_f32)
ARTEL_DECLARE_ROWS(UoeRows<bf16>, uoe_rows_bf16)

}  // namespace artel::cpu
