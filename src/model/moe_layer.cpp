#include "model/moe_layer.h"

namespace artel {

MoeLayer::MoeLayer(const RouterSetup& setup, const RouterFactory& factory)
    : num_experts_(setup.model.num_experts),
      router_(factory(setup)),
      dispatcher_(std::make_unique<LocalDispatcher>()),
      expert_counts_(static_cast<std::size_t>(setup.model.num_experts), 0) {
  ExpertOptions options = router_->expert_options();
  options.prefix = setup.prefix + "experts.";
  options.hidden_size = setup.model.hidden_size;
  options.num_local_experts = setup.model.num_experts;
  experts_.emplace(setup.store, options);
  // UoE's shared expert is virtual: for it the width only says what routing_neurons: auto has to match.
  if (setup.model.routing.type != "uoe" && setup.model.shared_expert_intermediate_size > 0) {
    shared_expert_.emplace(setup.store, setup.prefix + "shared_expert.", setup.model.hidden_size,
                           setup.model.shared_expert_intermediate_size);
  }
}

std::shared_ptr<const DispatchPlan> MoeLayer::make_plan(Context& context, const Routing& routing, bool training) {
  if (context.replaying) return context.recompute_log->next<const DispatchPlan>();
  auto plan = dispatcher_->plan(context, {routing.expert_ids, routing.token_offsets, num_experts_});
  if (training) {
    const std::vector<std::int32_t>& offsets = plan->order.groups->host;
    for (std::size_t i = 0; i < expert_counts_.size(); ++i) expert_counts_[i] += offsets[i + 1] - offsets[i];
  }
  if (context.recompute_log != nullptr) context.recompute_log->push(std::const_pointer_cast<DispatchPlan>(plan));
  return plan;
}

Variable MoeLayer::forward(Context& context, RouteInput input) {
  input.experts = &*experts_;
  const Routing routing = router_->route(context, input);
  const auto plan = make_plan(context, routing, input.training);
  DispatchedRows rows = dispatcher_->dispatch_start(context, input.x, routing.weights, routing.travelling, *plan);
  // What needs no expert is computed while the rows travel.
  Variable base = router_->side_output(context, routing);
  if (shared_expert_) {
    const Variable shared = shared_expert_->forward(context, input.x);
    base = base.defined() ? add(context, base, shared) : shared;
  }
  rows = dispatcher_->dispatch_wait(context, rows);
  const Variable y = experts_->forward(context, rows.x, rows.travelling, rows.weights, plan->order.groups);
  return dispatcher_->combine(context, y, *plan, base);
}

LayerStatistics MoeLayer::take_statistics(Context& context) {
  LayerStatistics statistics{expert_counts_, router_->auxiliary().take(context)};
  expert_counts_.assign(expert_counts_.size(), 0);
  return statistics;
}

}  // namespace artel
