#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace artel {

// Arguments of the kernels that choose experts, as kernels/backend.h declares them. T num_tokens · N num_experts ·
// K options.top_k · M sets.

/// top_k, and what a choice results in: probs [T, N], lse [T], ids [T, K], weights [T, K].
void check_top_k(const char* op, std::int64_t num_tokens, std::int64_t num_experts, const TopKOptions& options,
                 In probs, In lse, In ids, In weights);
/// The same for the backward, with dweights [T, K] or undefined and auxiliary.balance [M, N] or undefined.
void check_top_k_gradient(const char* op, std::int64_t num_tokens, std::int64_t num_experts, const TopKOptions& options,
                          In probs, In lse, In ids, In weights, In dweights, const AuxiliaryGradient& auxiliary);

void check_route_top_k(In scores, In selection_bias, const TopKOptions& options, In probs, In lse, In ids, In weights);
void check_route_top_k_backward(In probs, In lse, In ids, In weights, In dweights, const TopKOptions& options,
                                const AuxiliaryGradient& auxiliary, In dscores);
/// Both return the type of x.
DType check_row_norms(In x, In norms);
DType check_row_norms_backward(In x, In norms, In dnorms, In dx);
void check_expert_counts(In ids, In token_offsets, std::int64_t tokens_per_set, In counts);
void check_load_balance(In counts, In balance);
void check_set_sums(In x, std::int64_t tokens_per_set, In sums);
void check_routing_statistics(In probs, In ids, In token_offsets, In sums);

}  // namespace artel
