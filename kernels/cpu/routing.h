#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/rows/routing.h"

namespace artel {

// Shared by the kernels that choose experts. T num_tokens · N num_experts · K options.top_k · M sets.

/// Checks top_k and the shapes of the results: probs [T, N], lse [T], ids [T, K], weights [T, K].
cpu::TopKResult check_top_k(const char* op, std::int64_t num_tokens, std::int64_t num_experts,
                            const TopKOptions& options, Out probs, Out lse, Out ids, Out weights);

/// The same for the backward, with dweights [T, K] or undefined and auxiliary.balance [M, N] or undefined.
cpu::TopKGradient check_top_k_gradient(const char* op, std::int64_t num_tokens, std::int64_t num_experts,
                                       const TopKOptions& options, In probs, In lse, In ids, In weights, In dweights,
                                       const AuxiliaryGradient& auxiliary);

namespace cpu {

/// n rounded up to whole vectors of every instruction set, for scratch.
constexpr std::int64_t whole_vectors_of_any(std::int64_t n) {
  return (n + 15) / 16 * 16;
}

}  // namespace cpu
}  // namespace artel
