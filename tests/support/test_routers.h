#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>

#include "nn/layers.h"
#include "routing/router.h"

// Two routers that exist only here: they prove that the contract holds what is to come, a variable number of experts
// per token and state that no gradient trains. They run on the CPU backend and are written for reading.

namespace artel {

/// Top-P routing (Huang et al., arXiv 2403.07652): the fewest experts whose probabilities add up to at least `mass`;
/// weights are the probabilities, not renormalised.
class TopPRouter final : public Router {
 public:
  TopPRouter(const RouterSetup& setup, double mass)
      : Router(auxiliary_options(setup.model, setup.world)),
        model_(setup.model),
        mass_(mass),
        gate_(setup.store, setup.prefix + "gate.weight", setup.model.num_experts, setup.model.hidden_size) {}

  ExpertOptions expert_options() const override {
    ExpertOptions options;
    options.stored_width = model_.moe_intermediate_size;
    return options;
  }

  Routing route(Context& context, const RouteInput& input) override {
    const Variable scores = gate_.forward(context, input.x, DType::f32);  // [T, N]
    Choice choice = choose(context, scores.data);
    AuxiliaryGradient auxiliary_gradient;
    if (input.training) {
      auxiliary_gradient = auxiliary().add(context, choice.ids, choice.offsets, choice.probs, choice.lse,
                                           input.sequence_length, input.tokens_per_step);
    }
    Routing routing{choice.ids, Variable(choice.weights), choice.offsets, choice.probs, {}, {}};
    if (wants_tape(context, {scores})) {
      record("top_p", {scores}, {&routing.weights},
             [choice, auxiliary_gradient, slot = scores.slot](Context& ctx, const OutputGradients& dweights) {
               contribute(ctx, *slot, scores_gradient(ctx, choice, auxiliary_gradient, dweights[0]));
             });
    }
    return routing;
  }

 private:
  struct Choice {
    Tensor ids, weights, offsets, probs, lse;
  };

  Choice choose(Context& context, const Tensor& scores) const {
    const std::int64_t num_tokens = scores.size(0);
    const std::int64_t num_experts = scores.size(1);
    std::vector<std::int32_t> ids;
    std::vector<std::int32_t> offsets{0};
    std::vector<float> weights;
    std::vector<float> probs;
    std::vector<float> lses;
    for (std::int64_t t = 0; t < num_tokens; ++t) {
      const float* z = scores.data<float>() + t * num_experts;
      const double largest = *std::max_element(z, z + num_experts);
      double sum = 0.0;
      for (std::int64_t i = 0; i < num_experts; ++i) sum += std::exp(z[i] - largest);
      lses.push_back(static_cast<float>(largest + std::log(sum)));
      std::vector<std::int32_t> order(static_cast<std::size_t>(num_experts));
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [z](std::int32_t a, std::int32_t b) { return z[a] > z[b]; });
      for (std::int64_t i = 0; i < num_experts; ++i)
        probs.push_back(static_cast<float>(std::exp(z[i] - largest) / sum));
      double covered = 0.0;
      for (const std::int32_t id : order) {
        if (covered >= mass_) break;
        const float p = probs[static_cast<std::size_t>(t * num_experts + id)];
        ids.push_back(id);
        weights.push_back(p);
        covered += p;
      }
      offsets.push_back(static_cast<std::int32_t>(ids.size()));
    }
    const auto upload = [&context](const auto& values, const Shape& shape, DType dtype) {
      Tensor tensor = context.empty(shape, dtype);
      context.backend.upload(values.data(), tensor);
      return tensor;
    };
    const auto num_slots = static_cast<std::int64_t>(ids.size());
    return {upload(ids, {num_slots}, DType::i32), upload(weights, {num_slots}, DType::f32),
            upload(offsets, {num_tokens + 1}, DType::i32), upload(probs, {num_tokens, num_experts}, DType::f32),
            upload(lses, {num_tokens}, DType::f32)};
  }

  // dz_j = p_j ([j chosen] dw_j - sum over the chosen of p_i dw_i) + auxiliary.
  static Tensor scores_gradient(Context& context, const Choice& choice, const AuxiliaryGradient& auxiliary_gradient,
                                const Tensor& dweights) {
    const std::int64_t num_experts = choice.probs.size(1);
    Tensor dscores = context.empty(choice.probs.shape(), DType::f32);
    for (std::int64_t t = 0; t < choice.probs.size(0); ++t) {
      const float* p = choice.probs.data<float>() + t * num_experts;
      float* dz = dscores.data<float>() + t * num_experts;
      std::vector<double> dp(static_cast<std::size_t>(num_experts), 0.0);
      for (std::int32_t slot = choice.offsets.data<std::int32_t>()[t];
           slot < choice.offsets.data<std::int32_t>()[t + 1]; ++slot) {
        dp[static_cast<std::size_t>(choice.ids.data<std::int32_t>()[slot])] += dweights.data<float>()[slot];
      }
      if (auxiliary_gradient.balance.defined()) {
        const float* q = auxiliary_gradient.balance.data<float>() + t / auxiliary_gradient.tokens_per_set * num_experts;
        for (std::int64_t i = 0; i < num_experts; ++i) dp[static_cast<std::size_t>(i)] += q[i];
      }
      double mean = 0.0;
      for (std::int64_t i = 0; i < num_experts; ++i) mean += p[i] * dp[static_cast<std::size_t>(i)];
      const double z_term = auxiliary_gradient.z_scale * choice.lse.data<float>()[t];
      for (std::int64_t i = 0; i < num_experts; ++i) {
        dz[i] = static_cast<float>(p[i] * (dp[static_cast<std::size_t>(i)] - mean + z_term));
      }
    }
    return dscores;
  }

  const ModelConfig& model_;
  double mass_;
  Linear gate_;
};

/// Softmax routing with a selection bias that moves against the load after every step (Wang et al., arXiv 2408.15664):
/// bias_i += rate · sign(mean load - load_i). The bias changes choices, never weights.
class BiasBalancedRouter final : public Router {
 public:
  BiasBalancedRouter(const RouterSetup& setup, float rate)
      : Router(auxiliary_options(setup.model, setup.world)),
        model_(setup.model),
        rate_(rate),
        name_(setup.prefix + "gate.e_score_correction_bias"),
        gate_(setup.store, setup.prefix + "gate.weight", setup.model.num_experts, setup.model.hidden_size) {}

  ExpertOptions expert_options() const override {
    ExpertOptions options;
    options.stored_width = model_.moe_intermediate_size;
    return options;
  }

  Routing route(Context& context, const RouteInput& input) override {
    const TopKOptions options = top_k_options(model_);
    const std::int64_t num_tokens = input.x.data.size(0);
    const Variable scores = gate_.forward(context, input.x, DType::f32);
    const TopKDecision decision =
        route_top_k(context, scores, bias_, options, auxiliary_function(context, input, options.top_k));
    return {decision.ids.view({num_tokens * options.top_k}),
            decision.weights,
            fixed_token_offsets(context, num_tokens, options.top_k),
            decision.probs,
            {},
            {}};
  }

  void allocate_state(Context& context) override {
    bias_ = context.empty({model_.num_experts}, DType::f32);
    context.backend.fill(bias_, 0.0F);
  }
  std::vector<RouterState> state() const override { return {{name_, bias_}}; }

  void after_step(Context& context, const StepStatistics& statistics) override {
    std::vector<float> bias(statistics.expert_counts.size());
    context.backend.download(bias_, bias.data());
    double mean = 0.0;
    for (const std::int64_t count : statistics.expert_counts)
      mean += static_cast<double>(count) / static_cast<double>(bias.size());
    for (std::size_t i = 0; i < bias.size(); ++i) {
      const auto load = static_cast<double>(statistics.expert_counts[i]);
      if (load != mean) bias[i] += load < mean ? rate_ : -rate_;
    }
    context.backend.upload(bias.data(), bias_);
  }

 private:
  const ModelConfig& model_;
  float rate_;
  std::string name_;
  Linear gate_;
  Tensor bias_;
};

}  // namespace artel
