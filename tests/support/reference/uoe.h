#pragma once

#include "kernels/backend.h"
#include "support/reference/routing.h"
#include "support/reference/types.h"

namespace artel::reference {

struct Uoe {
  Vector bids;  ///< [T, N], before score_scale
  Routing routing;
  Vector hidden;  ///< [T, N·S] = c · h
};

/// Bids [T, N] of gate_up [T, N, 2, S]: the norm of the routing signal of each expert's S routing neurons.
Vector uoe_bids(const Vector& gate_up, std::size_t num_experts, std::size_t neurons, const BidOptions& options);
/// Steps 2 to 4 of the layer with the choice `ids` [T, K] given.
Uoe uoe(const Vector& gate_up, std::size_t num_experts, std::size_t neurons, const Ids& ids, const BidOptions& options);
/// Gradient [T, N, 2, S] of <dhidden, hidden> + <dweights, weights> + auxiliary loss, where dhidden is the gradient of
/// c · h and dweights [T, K] (or empty) that of the weights through the routed part alone.
Vector uoe_backward(const Vector& gate_up, std::size_t num_experts, std::size_t neurons, const Ids& ids,
                    const Vector& dweights, const Vector& dhidden, const BidOptions& options,
                    const Auxiliary& auxiliary);

}  // namespace artel::reference
