#include "routing/router.h"
#include "util/error.h"

// Union-of-Experts: no router. The first S neurons of every expert (its routing neurons) are computed for every token;
// the norm of their activations is the expert's bid, the K strongest bids win, and the outputs of all routing neurons
// of all experts are the virtual shared expert. Wu et al., "Union-of-Experts: Neurons in Mixture-of-Experts are
// Secretly Routers", ACL 2026. docs/uoe.md has the formulas.
//
// The routing neurons of all experts are dense parameters (every rank needs them for every token); the remaining
// neurons belong to the experts' owners. A checkpoint stores whole experts.

namespace artel {
namespace {

RoutingSignal parse_signal(const std::string& name) {
  if (name == "gate") return RoutingSignal::gate;
  if (name == "gate_preactivation") return RoutingSignal::gate_preactivation;
  if (name == "glu") return RoutingSignal::glu;
  fail("model.routing.uoe.routing_signal", "required gate, gate_preactivation or glu, found " + name);
}

RoutingNorm parse_norm(const std::string& name) {
  if (name == "l2") return RoutingNorm::l2;
  if (name == "l1") return RoutingNorm::l1;
  if (name == "linf") return RoutingNorm::linf;
  fail("model.routing.uoe.routing_norm", "required l2, l1 or linf, found " + name);
}

class UoeRouter final : public Router {
 public:
  explicit UoeRouter(const RouterSetup& setup)
      : Router(auxiliary_options(setup.model, setup.world)), model_(setup.model) {
    const UoeConfig& uoe = setup.model.routing.uoe;
    if (uoe.routing_neurons < 1 || uoe.routing_neurons >= model_.moe_intermediate_size) {
      fail("model.routing.uoe.routing_neurons",
           "required 1 to moe_intermediate_size - 1, found " + std::to_string(uoe.routing_neurons));
    }
    bid_ = {top_k_options(model_),        parse_signal(uoe.routing_signal),
            parse_norm(uoe.routing_norm), uoe.routed_includes_routing_neurons,
            uoe.virtual_shared_expert,    static_cast<float>(uoe.score_scale)};
    declare_parameters(setup);
  }

  ExpertOptions expert_options() const override {
    ExpertOptions options;
    options.stored_width = model_.moe_intermediate_size;
    options.first_neuron = model_.routing.uoe.routing_neurons;
    return options;
  }

  Routing route(Context& context, const RouteInput& input) override {
    const std::int64_t num_tokens = input.x.data.size(0);
    const std::int64_t top_k = bid_.top_k.top_k;
    const Variable gate_up = reshape(linear(context, input.x, gate_up_->variable),
                                     {num_tokens, model_.num_experts, 2, model_.routing.uoe.routing_neurons});
    const BidResult result = uoe_bids(context, gate_up, bid_, auxiliary_function(context, input, top_k));
    Routing routing;
    routing.expert_ids = result.decision.ids.view({num_tokens * top_k});
    routing.weights = result.decision.weights;
    routing.token_offsets = fixed_token_offsets(context, num_tokens, top_k);
    routing.probs = result.decision.probs;
    routing.side_input = result.hidden;
    return routing;
  }

  Variable side_output(Context& context, const Routing& routing) override {
    return uoe_output(context, routing.side_input, down_->variable);
  }

 private:
  void declare_parameters(const RouterSetup& setup) {
    const std::int64_t neurons = model_.routing.uoe.routing_neurons;
    const std::int64_t width = model_.moe_intermediate_size;
    const std::int64_t hidden_size = model_.hidden_size;
    Parameter gate_up;
    gate_up.name = setup.prefix + "routing_neurons.gate_and_up_proj";
    gate_up.shape = {model_.num_experts * 2 * neurons, hidden_size};  // [N, 2, S, d]
    Parameter down;
    down.name = setup.prefix + "routing_neurons.down_proj";
    down.shape = {model_.num_experts, hidden_size, neurons};  // [N, d, S]
    for (std::int64_t i = 0; i < model_.num_experts; ++i) {
      const std::string expert = setup.prefix + "experts." + std::to_string(i) + ".";
      const StoredSlice rows{"", {width, hidden_size}, {0, 0}, {neurons, hidden_size}};
      for (const char* projection : {"gate_proj.weight", "up_proj.weight"}) {
        gate_up.slices.push_back(rows);
        gate_up.slices.back().name = expert + projection;
      }
      down.slices.push_back({expert + "down_proj.weight", {hidden_size, width}, {0, 0}, {hidden_size, neurons}});
    }
    gate_up_ = &setup.store.declare(std::move(gate_up));
    down_ = &setup.store.declare(std::move(down));
  }

  const ModelConfig& model_;
  BidOptions bid_;
  Parameter* gate_up_ = nullptr;
  Parameter* down_ = nullptr;
};

}  // namespace

std::unique_ptr<Router> make_uoe_router(const RouterSetup& setup) {
  return std::make_unique<UoeRouter>(setup);
}

}  // namespace artel
