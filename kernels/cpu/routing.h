#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/rows/routing.h"

namespace artel::cpu {

// Shared by the kernels that choose experts; arguments have been checked.

inline TopKResult top_k_result(Out probs, Out lse, Out ids, Out weights) {
  return {probs.data<float>(), lse.data<float>(), ids.data<std::int32_t>(), weights.data<float>()};
}

inline TopKGradient top_k_gradient(In probs, In lse, In ids, In weights, In dweights,
                                   const AuxiliaryGradient& auxiliary) {
  TopKGradient gradient{.probs = probs.data<float>(),
                        .lse = lse.data<float>(),
                        .ids = ids.data<std::int32_t>(),
                        .weights = weights.data<float>()};
  if (dweights.defined()) gradient.dweights = dweights.data<float>();
  if (auxiliary.balance.defined()) {
    gradient.balance = auxiliary.balance.data<float>();
    gradient.tokens_per_set = auxiliary.tokens_per_set;
  }
  gradient.z_scale = auxiliary.z_scale;
  return gradient;
}

/// n rounded up to whole vectors of every instruction set, for scratch.
constexpr std::int64_t whole_vectors_of_any(std::int64_t n) {
  return (n + 15) / 16 * 16;
}

}  // namespace artel::cpu
