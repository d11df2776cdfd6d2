#include "nn/token_dispatcher.h"

namespace artel {
namespace {

// token_of_slot [A] i32: which token every slot belongs to, made from token_offsets on the host.
Tensor token_of_slots(Context& context, const Tensor& token_offsets, std::int64_t num_slots) {
  std::vector<std::int32_t> offsets(static_cast<std::size_t>(token_offsets.numel()));
  context.backend.download(token_offsets, offsets.data());
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(num_slots));
  for (std::size_t token = 0; token + 1 < offsets.size(); ++token) {
    for (std::int32_t slot = offsets[token]; slot < offsets[token + 1]; ++slot) {
      tokens[static_cast<std::size_t>(slot)] = static_cast<std::int32_t>(token);
    }
  }
  Tensor result = context.empty({num_slots, 1}, DType::i32);
  context.backend.upload(tokens.data(), result);
  return result;
}

}  // namespace

std::shared_ptr<const DispatchPlan> LocalDispatcher::plan(Context& context, const Assignments& assignments) {
  const std::int64_t num_slots = assignments.expert_ids.numel();
  auto plan = std::make_shared<DispatchPlan>();
  auto groups = std::make_shared<GroupOffsets>();
  RowOrder& order = plan->order;
  groups->device = context.empty({assignments.num_experts + 1}, DType::i32);
  order.slot_of_row = context.empty({num_slots}, DType::i32);
  order.row_of_slot = context.empty({num_slots}, DType::i32);
  order.token_of_row = context.empty({num_slots}, DType::i32);
  order.token_offsets = assignments.token_offsets;
  context.backend.sort_by_expert(assignments.expert_ids.view({num_slots}), assignments.num_experts, groups->device,
                                 order.slot_of_row, order.row_of_slot);
  context.backend.gather_rows(token_of_slots(context, assignments.token_offsets, num_slots), order.slot_of_row,
                              order.token_of_row.view({num_slots, 1}));
  groups->host.resize(static_cast<std::size_t>(assignments.num_experts) + 1);
  context.backend.download(groups->device, groups->host.data());
  order.groups = std::move(groups);
  return plan;
}

DispatchedRows LocalDispatcher::dispatch_start(Context& context, const Variable& x, const Variable& weights,
                                               const Variable& travelling, const DispatchPlan& plan) {
  DispatchedRows rows;
  rows.x = gather_tokens(context, x, plan.order);
  rows.weights = gather_slots(context, weights, plan.order);
  if (travelling.defined()) rows.travelling = gather_unique(context, travelling, plan.order.slot_of_row);
  return rows;
}

DispatchedRows LocalDispatcher::dispatch_wait(Context&, DispatchedRows pending) {
  return pending;
}

Variable LocalDispatcher::combine(Context& context, const Variable& rows, const DispatchPlan& plan,
                                  const Variable& base) {
  return sum_slots(context, rows, plan.order, base);
}

}  // namespace artel
