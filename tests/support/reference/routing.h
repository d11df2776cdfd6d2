#pragma once

#include "kernels/backend.h"
#include "support/reference/types.h"

namespace artel::reference {

/// The K largest of each row of scores [T, N], in descending order, ties to the lower index: ids [T, K].
Ids top_k(const Vector& scores, std::size_t num_experts, std::size_t k);

struct Routing {
  Vector probs;    ///< [T, N]
  Vector lse;      ///< [T]
  Ids ids;         ///< [T, K]
  Vector weights;  ///< [T, K]
};
/// Softmax over scores [T, N], weights of the chosen `ids` [T, K] (top_k of the scores where there is no bias).
Routing route(const Vector& scores, std::size_t num_experts, const Ids& ids, const TopKOptions& options);

/// The auxiliary losses as numbers, so that their gradients can be checked: sum over tokens of
/// sum_i balance[set, i] · p_ti + z_scale/2 · lse_t².
struct Auxiliary {
  Vector balance;  ///< [M, N] or empty
  std::size_t tokens_per_set = 1;
  double z_scale = 0.0;
};
double auxiliary_loss(const Routing& routing, std::size_t num_experts, const Auxiliary& auxiliary);

/// Gradient [T, N] of <dweights, weights> + auxiliary loss. dweights [T, K] or empty.
Vector route_backward(const Vector& scores, std::size_t num_experts, const Ids& ids, const Vector& dweights,
                      const TopKOptions& options, const Auxiliary& auxiliary);

/// counts [M, N]; the slots of token t are token_offsets[t] .. token_offsets[t+1] of ids.
Ids expert_counts(const Ids& ids, const Ids& token_offsets, std::size_t num_experts, std::size_t tokens_per_set);
/// Sums [M, N] of the rows of x [T, N] in each set.
Vector set_sums(const Vector& x, std::size_t num_experts, std::size_t tokens_per_set);

/// Sums over the tokens: of the entropies of the rows of probs [T, N], and of the least probability chosen less the
/// largest not chosen, where there are both.
struct RoutingStatistics {
  double entropy = 0.0;
  double margin = 0.0;
};
RoutingStatistics routing_statistics(const Vector& probs, std::size_t num_experts, const Ids& ids,
                                     const Ids& token_offsets);

}  // namespace artel::reference
