#include <algorithm>
#include <utility>

#include "routing/router.h"
#include "util/error.h"
#include "util/nearest_name.h"

namespace artel {
namespace {

using Entry = std::pair<const char*, std::unique_ptr<Router> (*)(const RouterSetup&)>;

// A new method adds its line here and its declaration in router.h.
constexpr Entry entries[] = {
    {"softmax", make_softmax_router},
    {"uoe", make_uoe_router},
    {"aoe", make_aoe_router},
};

}  // namespace

std::unique_ptr<Router> make_router(const RouterSetup& setup) {
  const std::string& type = setup.model.routing.type;
  for (const auto& [name, factory] : entries) {
    if (type == name) return factory(setup);
  }
  const std::string nearest = nearest_name(type, router_names());
  fail("model.routing.type", "required the name of a routing method, found '" + type + "'" +
                                 (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"));
}

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (const auto& entry : entries) names.emplace_back(entry.first);
  return names;
}

TopKOptions top_k_options(const ModelConfig& model) {
  return {model.num_experts_per_tok, model.norm_topk_prob, static_cast<float>(model.routed_scaling_factor)};
}

const Tensor& Router::fixed_token_offsets(Context& context, std::int64_t num_tokens, std::int64_t top_k) {
  if (!token_offsets_.defined() || token_offsets_.numel() != num_tokens + 1) {
    std::vector<std::int32_t> offsets(static_cast<std::size_t>(num_tokens) + 1);
    for (std::size_t t = 0; t < offsets.size(); ++t)
      offsets[t] = static_cast<std::int32_t>(static_cast<std::int64_t>(t) * top_k);
    token_offsets_ = context.empty({num_tokens + 1}, DType::i32);
    context.backend.upload(offsets.data(), token_offsets_);
  }
  return token_offsets_;
}

AuxiliaryFunction Router::auxiliary_function(Context& context, const RouteInput& input, std::int64_t top_k) {
  if (!input.training) return {};
  return [this, &context, &input, top_k](const TopKDecision& decision) {
    const std::int64_t num_tokens = decision.probs.size(0);
    return auxiliary_.add(context, decision.ids.view({num_tokens * top_k}),
                          fixed_token_offsets(context, num_tokens, top_k), decision.probs, decision.lse,
                          input.sequence_length, input.tokens_per_step);
  };
}

}  // namespace artel
