#include "nn/layers.h"
#include "routing/router.h"

// Softmax top-K routing: scores = x · R^T in f32, the router matrix R [N, d] trained like any weight.
// Shazeer et al., ICLR 2017; Fedus et al., JMLR 2022.

namespace artel {
namespace {

class SoftmaxRouter final : public Router {
 public:
  explicit SoftmaxRouter(const RouterSetup& setup)
      : Router(auxiliary_options(setup.model, setup.world)),
        model_(setup.model),
        gate_(setup.store, setup.prefix + "gate.weight", setup.model.num_experts, setup.model.hidden_size) {}

  ExpertOptions expert_options() const override {
    ExpertOptions options;
    options.stored_width = model_.moe_intermediate_size;
    return options;
  }

  Routing route(Context& context, const RouteInput& input) override {
    const TopKOptions options = top_k_options(model_);
    const std::int64_t num_tokens = input.x.data.size(0);
    const Variable scores = gate_.forward(context, input.x, DType::f32);  // [T, N]
    const TopKDecision decision =
        route_top_k(context, scores, Tensor{}, options, auxiliary_function(context, input, options.top_k));
    Routing routing;
    routing.expert_ids = decision.ids.view({num_tokens * options.top_k});
    routing.weights = decision.weights;
    routing.token_offsets = fixed_token_offsets(context, num_tokens, options.top_k);
    routing.probs = decision.probs;
    return routing;
  }

 private:
  const ModelConfig& model_;
  Linear gate_;
};

}  // namespace

std::unique_ptr<Router> make_softmax_router(const RouterSetup& setup) {
  return std::make_unique<SoftmaxRouter>(setup);
}

}  // namespace artel
