#pragma once

#include <functional>
#include <memory>

#include "ops/tape.h"

// Shapes: T tokens · d hidden_size · N experts · K num_experts_per_tok · S routing neurons · A assignments (T·K when K
// is fixed) · r width of AoE's cached activations. "act" is the activation type.

namespace artel {

/// y [A, out] = x [A, in] · weight[g]^T for the rows of every group g; weight [G, out, in].
Variable grouped_linear(Context& context, const Variable& x, const std::shared_ptr<const GroupOffsets>& groups,
                        const Variable& weight);

/// Two grouped products side by side, for experts whose gate and up read different rows:
/// gate_up [A, 2, E] = (gate_x · gate_weight^T, up_x · up_weight^T); gate_weight [G, E, r], up_weight [G, E, d].
Variable grouped_gate_up(Context& context, const Variable& gate_x, const Variable& gate_weight, const Variable& up_x,
                         const Variable& up_weight, std::shared_ptr<const GroupOffsets> groups);

/// What a router with fixed K decides: which experts, and the probabilities behind the choice.
struct TopKDecision {
  Tensor probs;      ///< [T, N] f32
  Tensor lse;        ///< [T] f32, log-sum-exp of the scores
  Tensor ids;        ///< [T, K] i32
  Variable weights;  ///< [T, K] f32
};
/// Called once the decision is known: makes the auxiliary losses and returns what backward adds to the scores.
using AuxiliaryFunction = std::function<AuxiliaryGradient(const TopKDecision&)>;

/// Choice and weights from scores [T, N] f32; selection_bias [N] f32 or undefined changes the choice, not the weights.
TopKDecision route_top_k(Context& context, const Variable& scores, const Tensor& selection_bias,
                         const TopKOptions& options, const AuxiliaryFunction& auxiliary);

struct BidResult {
  TopKDecision decision;
  Variable hidden;  ///< [T, N·S] act: c · h, to be multiplied by the routing neurons' output weights
};
/// UoE's bids over gate_up [T, N, 2, S] act (docs/uoe.md, steps 2 to 4).
BidResult uoe_bids(Context& context, const Variable& gate_up, const BidOptions& options,
                   const AuxiliaryFunction& auxiliary);

/// y [T, d] = hidden [T, N·S] · weight over all experts at once; weight [N, d, S] as stored.
Variable uoe_output(Context& context, const Variable& hidden, const Variable& weight);

/// norms [R] f32 = L2 norms of the rows of x [R, r] act.
Variable row_norms(Context& context, const Variable& x);

/// Frozen consequences of the choices: the expert-major order of the assignments.
struct RowOrder {
  std::shared_ptr<const GroupOffsets> groups;  ///< rows of every expert; their host half is there after wait()
  std::shared_ptr<HostCopy> groups_copy;
  Tensor slot_of_row;    ///< [A] i32
  Tensor row_of_slot;    ///< [A] i32
  Tensor token_of_row;   ///< [A] i32
  Tensor token_offsets;  ///< [T + 1] i32: slots of every token

  /// For groups->host, the one read of the device that a pass cannot do without: sizes of products and of transfers.
  void wait() const {
    if (groups_copy != nullptr) groups_copy->wait();
  }
};

/// What experts compute on.
struct DispatchedRows {
  Variable x;           ///< [A, d] in expert-major order
  Variable weights;     ///< [A] f32, each row's own
  Variable travelling;  ///< [A, r] or undefined
};

/// rows [A, c] = x [T, c][token_of_row]; not kept for backward but gathered again. Backward sums the slots of a token
/// in ascending order.
Variable gather_tokens(Context& context, const Variable& x, const RowOrder& order);
/// rows [A] f32 = slots [A][slot_of_row].
Variable gather_slots(Context& context, const Variable& slots, const RowOrder& order);
/// rows [A, c] = x [R, c][index]; index [A] i32 without repeats.
Variable gather_unique(Context& context, const Variable& x, const Tensor& index);
/// y [T, d] = base + sum over the slots of each token of rows [A, d]. An undefined base is zero; a defined one is
/// consumed: its memory becomes y's, so nothing else may read it.
Variable sum_slots(Context& context, const Variable& rows, const RowOrder& order, const Variable& base);

/// a + b, of one shape and type.
Variable add(Context& context, const Variable& a, const Variable& b);

}  // namespace artel
