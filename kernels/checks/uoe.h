#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace artel {

/// The sizes of gate_up [T, N, 2, S].
struct BidShape {
  std::int64_t num_tokens = 0;   ///< T
  std::int64_t num_experts = 0;  ///< N
  std::int64_t num_neurons = 0;  ///< S
  DType act = DType::f32;
};

// Arguments of the kernels as kernels/backend.h declares them.

BidShape check_uoe_bids(In gate_up, const BidOptions& options, In bids, In probs, In lse, In ids, In weights,
                        In hidden);
BidShape check_uoe_bids_backward(In gate_up, In bids, In probs, In lse, In ids, In weights, In dweights, In dhidden,
                                 const BidOptions& options, const AuxiliaryGradient& auxiliary, In dgate_up);

}  // namespace artel
