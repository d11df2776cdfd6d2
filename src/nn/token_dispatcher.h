#pragma once

#include <memory>
#include <vector>

#include "ops/comm_ops.h"
#include "ops/moe_ops.h"

// Shapes: T tokens · A assignments (A_local: of this rank's experts) · d hidden_size · r width of the travelling rows ·
// N experts.

namespace artel {

/// The choices that a dispatcher turns into movement.
struct Assignments {
  Tensor expert_ids;     ///< [A] i32, slots in token order
  Tensor token_offsets;  ///< [T + 1] i32: slots of every token
  std::int64_t num_experts = 0;
};

/// Frozen once per step and layer; made from counts alone, reused when a block is recomputed. The host half of the
/// groups is there when dispatch_wait has returned, or order.wait().
struct DispatchPlan {
  RowOrder order;                              ///< the rows of this rank's tokens, by expert over all N
  std::shared_ptr<const GroupOffsets> groups;  ///< the rows that this rank's experts compute, by local expert
  // Between ranks only:
  std::shared_ptr<const RowExchange> exchange;
  Tensor arrival_of_row;  ///< [A_local] i32: where each row that is computed here stood on arrival
  Tensor row_of_arrival;  ///< [A_local] i32
};

/// Rows on their way: what is here already, and the transfers under way.
struct PendingDispatch {
  DispatchedRows rows;
  std::vector<TravellingRows> transfers;  ///< of x, weights and, if there are any, travelling rows
};

/// Brings tokens to experts and expert outputs back. Dispatch is split into start and wait, so that what does not
/// depend on it (UoE's virtual shared expert) runs in between; backward of combine is a dispatch of dy, backward of
/// dispatch a combine of dx. Rows inside an expert are in ascending global token order; no atomics.
class TokenDispatcher {
 public:
  TokenDispatcher() = default;
  TokenDispatcher(const TokenDispatcher&) = delete;
  TokenDispatcher& operator=(const TokenDispatcher&) = delete;
  virtual ~TokenDispatcher() = default;

  virtual std::shared_ptr<const DispatchPlan> plan(Context& context, const Assignments& assignments) = 0;
  /// x [T, d], weights [A] in slot order, travelling [A, r] in slot order or undefined.
  virtual PendingDispatch dispatch_start(Context& context, const Variable& x, const Variable& weights,
                                         const Variable& travelling, const DispatchPlan& plan) = 0;
  /// Consumes `pending`: what was sent is let go.
  virtual DispatchedRows dispatch_wait(Context& context, PendingDispatch pending, const DispatchPlan& plan) = 0;
  /// y [T, d] = base + sum over each token's slots, in slot order, of rows [A, d]; base (undefined: zero) is consumed.
  virtual Variable combine(Context& context, const Variable& rows, const DispatchPlan& plan, const Variable& base) = 0;
};

/// All experts on this rank: sorting and copying.
class LocalDispatcher final : public TokenDispatcher {
 public:
  std::shared_ptr<const DispatchPlan> plan(Context& context, const Assignments& assignments) override;
  PendingDispatch dispatch_start(Context& context, const Variable& x, const Variable& weights,
                                 const Variable& travelling, const DispatchPlan& plan) override;
  DispatchedRows dispatch_wait(Context& context, PendingDispatch pending, const DispatchPlan& plan) override;
  Variable combine(Context& context, const Variable& rows, const DispatchPlan& plan, const Variable& base) override;
};

/// Experts in equal shares on the ranks of `group`, in rank order: rows go to the owners of their experts and come
/// back. Every rank takes part whatever its counts. `group` must outlive it.
std::unique_ptr<TokenDispatcher> make_all_to_all_dispatcher(Communicator& group);

/// The expert-major order of a rank's own assignments.
RowOrder sort_assignments(Context& context, const Assignments& assignments);
/// Rows of x, weights and travelling in that order.
DispatchedRows gather_rows_by_expert(Context& context, const Variable& x, const Variable& weights,
                                     const Variable& travelling, const RowOrder& order);

}  // namespace artel
