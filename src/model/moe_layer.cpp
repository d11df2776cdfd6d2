#include "model/moe_layer.h"

#include <utility>

#include "ops/probe.h"

namespace artel {
namespace {

std::unique_ptr<TokenDispatcher> make_dispatcher(Communicator* expert_group) {
  if (expert_group == nullptr || expert_group->size() == 1) return std::make_unique<LocalDispatcher>();
  return make_all_to_all_dispatcher(*expert_group);
}

}  // namespace

LayerStatistics NotedStatistics::values() {
  LayerStatistics statistics;
  statistics.expert_counts = expert_counts;
  statistics.auxiliary = auxiliary_values(losses);
  for (NotedChoices& noted : choices) {
    const std::vector<double>& sums = noted.sums.values();
    statistics.choice.entropy += sums[0];
    statistics.choice.margin += sums[1];
    statistics.choice.num_tokens += noted.num_tokens;
  }
  return statistics;
}

std::vector<LayerStatistics> layer_statistics(std::vector<NotedStatistics> layers) {
  std::vector<LayerStatistics> statistics;
  for (NotedStatistics& layer : layers) statistics.push_back(layer.values());
  return statistics;
}

MoeLayer::MoeLayer(const RouterSetup& setup, const RouterFactory& factory)
    : layer_(setup.layer),
      num_experts_(setup.model.num_experts),
      router_(factory(setup)),
      dispatcher_(make_dispatcher(setup.expert_group)),
      expert_counts_(static_cast<std::size_t>(setup.model.num_experts), 0) {
  ExpertOptions options = router_->expert_options();
  options.prefix = setup.prefix + "experts.";
  options.hidden_size = setup.model.hidden_size;
  const int group_size = setup.expert_group != nullptr ? setup.expert_group->size() : 1;
  const int group_rank = setup.expert_group != nullptr ? setup.expert_group->rank() : 0;
  options.num_local_experts = setup.model.num_experts / group_size;
  options.first_expert = options.num_local_experts * group_rank;
  experts_.emplace(setup.store, options);
  // UoE's shared expert is virtual: for it the width only says what routing_neurons: auto has to match.
  if (setup.model.routing.type != "uoe" && setup.model.shared_expert_intermediate_size > 0) {
    shared_expert_.emplace(setup.store, setup.prefix + "shared_expert.", setup.model.hidden_size,
                           setup.model.shared_expert_intermediate_size);
  }
}

std::shared_ptr<const DispatchPlan> MoeLayer::make_plan(Context& context, const Routing& routing) {
  if (context.replaying) return context.recompute_log->next<const DispatchPlan>();
  auto plan = dispatcher_->plan(context, {routing.expert_ids, routing.token_offsets, num_experts_});
  if (context.recompute_log != nullptr) context.recompute_log->push(std::const_pointer_cast<DispatchPlan>(plan));
  return plan;
}

void MoeLayer::count_assignments(const DispatchPlan& plan) {
  const std::vector<std::int32_t>& offsets = plan.order.groups->host;
  for (std::size_t i = 0; i < expert_counts_.size(); ++i) expert_counts_[i] += offsets[i + 1] - offsets[i];
}

void MoeLayer::note_choices(Context& context, const Routing& routing) {
  const Tensor sums = context.empty({2}, DType::f64);
  context.backend.routing_statistics(routing.probs, routing.expert_ids, routing.token_offsets, sums);
  noted_choices_.push_back({ReadBack<double>(context, sums), routing.probs.size(0)});
}

Variable MoeLayer::forward(Context& context, RouteInput input, RoutingObserver* observer) {
  input.experts = &*experts_;
  Routing routing = router_->route(context, input);
  watch_value(context, layer_, "mlp.router.probs", routing.probs);
  watch(context, layer_, "mlp.router.weights", routing.weights);
  watch(context, layer_, "mlp.router.travelling", routing.travelling);
  const auto plan = make_plan(context, routing);
  const bool counts = input.training && !context.replaying;
  if (counts) note_choices(context, routing);
  if (observer != nullptr) {
    plan->order.wait();
    observer->on_routing(layer_, input.x.data, routing, plan->order.groups->host);
  }
  PendingDispatch pending = dispatcher_->dispatch_start(context, input.x, routing.weights, routing.travelling, *plan);
  // What needs no expert is computed while the rows travel, and while the host waits for the experts' counts.
  Variable base = router_->side_output(context, routing);
  if (shared_expert_) {
    const Variable shared = shared_expert_->forward(context, input.x);
    base = base.defined() ? add(context, base, shared) : shared;
  }
  watch(context, layer_, "mlp.shared_expert", base);
  DispatchedRows rows = dispatcher_->dispatch_wait(context, std::move(pending), *plan);
  if (counts) count_assignments(*plan);
  Variable y = experts_->forward(context, std::move(rows), plan->groups);
  watch(context, layer_, "mlp.experts", y);
  Variable output = dispatcher_->combine(context, y, *plan, base);
  if (observer != nullptr) observer->on_output(layer_, output.data);
  return output;
}

NotedStatistics MoeLayer::take_statistics() {
  NotedStatistics statistics{expert_counts_, router_->auxiliary().take_noted(), std::exchange(noted_choices_, {})};
  expert_counts_.assign(expert_counts_.size(), 0);
  return statistics;
}

}  // namespace artel
