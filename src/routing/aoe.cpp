#include "routing/router.h"
#include "util/error.h"

// Autonomy-of-Experts: every expert's gate is factorised into a narrow down-projection [r, d] and an up-projection [w,
// r]; the norm of the narrow activation is the expert's score, and the winners' activations travel with the tokens. Lv
// et al., "Autonomy-of-Experts Models", arXiv 2501.13074. The authors' code does not renormalise over the chosen:
// norm_topk_prob: false.

namespace artel {
namespace {

class AoeRouter final : public Router {
 public:
  explicit AoeRouter(const RouterSetup& setup)
      : Router(auxiliary_options(setup.model, setup.world)), model_(setup.model) {
    const AoeConfig& aoe = model_.routing.aoe;
    if (aoe.d_low < 1 || aoe.expert_width < 1) {
      fail("model.routing.aoe", "required d_low and expert_width of at least 1, found " + std::to_string(aoe.d_low) +
                                    " and " + std::to_string(aoe.expert_width));
    }
    Parameter gate_down;
    gate_down.name = setup.prefix + "experts.gate_down_proj";
    gate_down.shape = {model_.num_experts * padded_width(aoe.d_low), model_.hidden_size};  // [N, r, d]
    for (std::int64_t i = 0; i < model_.num_experts; ++i) {
      gate_down.slices.push_back(whole_slice(setup.prefix + "experts." + std::to_string(i) + ".gate_down_proj.weight",
                                             {aoe.d_low, model_.hidden_size}));
      gate_down.slices.back().padded_shape = {padded_width(aoe.d_low), model_.hidden_size};
    }
    gate_down_ = &setup.store.declare(std::move(gate_down));
  }

  ExpertOptions expert_options() const override {
    ExpertOptions options;
    options.stored_width = model_.routing.aoe.expert_width;
    options.travelling_width = model_.routing.aoe.d_low;
    return options;
  }

  Routing route(Context& context, const RouteInput& input) override {
    const TopKOptions options = top_k_options(model_);
    const std::int64_t num_tokens = input.x.data.size(0);
    const std::int64_t num_experts = model_.num_experts;
    const Variable cached = reshape(linear(context, input.x, gate_down_->variable),
                                    {num_tokens * num_experts, padded_width(model_.routing.aoe.d_low)});
    const Variable scores = reshape(row_norms(context, cached), {num_tokens, num_experts});
    const TopKDecision decision =
        route_top_k(context, scores, Tensor{}, options, auxiliary_function(context, input, options.top_k));
    Routing routing;
    routing.expert_ids = decision.ids.view({num_tokens * options.top_k});
    routing.weights = decision.weights;
    routing.token_offsets = fixed_token_offsets(context, num_tokens, options.top_k);
    routing.probs = decision.probs;
    // Where the choices stand among the cached activations [T·N, r].
    const Tensor chosen = context.empty(routing.expert_ids.shape(), DType::i32);
    context.backend.slot_rows(routing.expert_ids, routing.token_offsets, num_experts, chosen);
    routing.travelling = gather_unique(context, cached, chosen);
    return routing;
  }

 private:
  const ModelConfig& model_;
  Parameter* gate_down_ = nullptr;
};

}  // namespace

std::unique_ptr<Router> make_aoe_router(const RouterSetup& setup) {
  return std::make_unique<AoeRouter>(setup);
}

}  // namespace artel
