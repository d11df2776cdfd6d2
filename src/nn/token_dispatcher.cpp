#include "nn/token_dispatcher.h"

#include "core/trace.h"

namespace artel {
namespace {

// [A, 1] i32: which token every slot belongs to.
Tensor token_of_slots(Context& context, const Tensor& token_offsets, std::int64_t num_slots) {
  const Tensor tokens = context.empty({num_slots}, DType::i32);
  context.backend.slot_rows(Tensor{}, token_offsets, 1, tokens);
  return tokens.view({num_slots, 1});
}

}  // namespace

RowOrder sort_assignments(Context& context, const Assignments& assignments) {
  const std::int64_t num_slots = assignments.expert_ids.numel();
  RowOrder order;
  auto groups = std::make_shared<GroupOffsets>();
  groups->device = context.empty({assignments.num_experts + 1}, DType::i32);
  order.slot_of_row = context.empty({num_slots}, DType::i32);
  order.row_of_slot = context.empty({num_slots}, DType::i32);
  order.token_of_row = context.empty({num_slots}, DType::i32);
  order.token_offsets = assignments.token_offsets;
  context.backend.sort_by_expert(assignments.expert_ids.view({num_slots}), assignments.num_experts, groups->device,
                                 order.slot_of_row, order.row_of_slot);
  groups->host.resize(static_cast<std::size_t>(assignments.num_experts) + 1);
  order.groups_copy = context.backend.start_download(groups->device, groups->host.data());
  order.groups = std::move(groups);
  context.backend.gather_rows(token_of_slots(context, assignments.token_offsets, num_slots), order.slot_of_row,
                              order.token_of_row.view({num_slots, 1}));
  return order;
}

DispatchedRows gather_rows_by_expert(Context& context, const Variable& x, const Variable& weights,
                                     const Variable& travelling, const RowOrder& order) {
  DispatchedRows rows;
  rows.x = gather_tokens(context, x, order);
  rows.weights = gather_slots(context, weights, order);
  if (travelling.defined()) rows.travelling = gather_unique(context, travelling, order.slot_of_row);
  return rows;
}

std::shared_ptr<const DispatchPlan> LocalDispatcher::plan(Context& context, const Assignments& assignments) {
  const TraceSpan span(context.tracer, TraceKind::forward, "dispatch_plan");
  auto plan = std::make_shared<DispatchPlan>();
  plan->order = sort_assignments(context, assignments);
  plan->groups = plan->order.groups;
  return plan;
}

PendingDispatch LocalDispatcher::dispatch_start(Context& context, const Variable& x, const Variable& weights,
                                                const Variable& travelling, const DispatchPlan& plan) {
  return {gather_rows_by_expert(context, x, weights, travelling, plan.order), {}};
}

DispatchedRows LocalDispatcher::dispatch_wait(Context&, PendingDispatch pending, const DispatchPlan& plan) {
  plan.order.wait();
  return std::move(pending.rows);
}

Variable LocalDispatcher::combine(Context& context, const Variable& rows, const DispatchPlan& plan,
                                  const Variable& base) {
  return sum_slots(context, rows, plan.order, base);
}

}  // namespace artel
