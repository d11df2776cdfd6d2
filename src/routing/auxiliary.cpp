#include "routing/auxiliary.h"

#include "util/error.h"

namespace artel {

AuxiliaryOptions auxiliary_options(const ModelConfig& model, Communicator& world) {
  AuxiliaryOptions options;
  options.num_experts = model.num_experts;
  options.num_layers = model.num_hidden_layers;
  options.balance_coef = static_cast<float>(model.router_aux_loss_coef);
  options.z_coef = static_cast<float>(model.router_z_loss_coef);
  options.world = &world;
  const std::string& scope = model.router_aux_loss_scope;
  if (scope == "sequence") {
    options.scope = AuxiliaryScope::sequence;
  } else if (scope == "micro") {
    options.scope = AuxiliaryScope::micro;
  } else if (scope == "global") {
    options.scope = AuxiliaryScope::global;
  } else {
    fail("model.router_aux_loss_scope", "required sequence, micro or global, found " + scope);
  }
  return options;
}

AuxiliaryGradient AuxiliaryLosses::add(Context& context, const Tensor& ids, const Tensor& token_offsets,
                                       const Tensor& probs, const Tensor& lse, std::int64_t sequence_length,
                                       std::int64_t tokens_per_step) {
  if (context.replaying) return *context.recompute_log->next<AuxiliaryGradient>();
  const std::int64_t num_tokens = probs.size(0);
  AuxiliaryGradient gradient;
  gradient.tokens_per_set = options_.scope == AuxiliaryScope::sequence ? sequence_length : num_tokens;
  const Shape sets{num_tokens / gradient.tokens_per_set, options_.num_experts};
  const Tensor counts = context.empty(sets, DType::i32);
  const Tensor sums = context.empty(sets, DType::f32);
  const Tensor z = context.empty({1}, DType::f64);
  context.backend.expert_counts(ids, token_offsets, gradient.tokens_per_set, counts);
  if (options_.scope == AuxiliaryScope::global) options_.world->all_reduce(counts, Purpose::statistics);
  context.backend.set_sums(probs, gradient.tokens_per_set, sums);
  context.backend.sum_of_squares(lse, z);

  const double per_token = 1.0 / (static_cast<double>(options_.num_layers) * static_cast<double>(tokens_per_step));
  if (options_.balance_coef != 0.0F) {
    gradient.balance = context.empty(sets, DType::f32);
    const double scale = options_.balance_coef * static_cast<double>(options_.num_experts) * per_token;
    context.backend.load_balance(counts, static_cast<float>(scale), gradient.balance);
  }
  gradient.z_scale = static_cast<float>(2.0 * options_.z_coef * per_token);
  noted_.push_back({{context, counts},
                    {context, sums},
                    {context, z},
                    static_cast<double>(tokens_per_step),
                    static_cast<std::size_t>(options_.num_experts)});
  if (context.recompute_log != nullptr) context.recompute_log->push(std::make_shared<AuxiliaryGradient>(gradient));
  return gradient;
}

AuxiliaryValues auxiliary_values(std::vector<NotedLosses>& passes) {
  AuxiliaryValues values;
  for (NotedLosses& pass : passes) {
    const std::vector<std::int32_t>& counts = pass.counts.values();
    const std::vector<float>& sums = pass.sums.values();
    for (std::size_t set = 0; set < counts.size(); set += pass.num_experts) {
      double total = 0.0;
      double product = 0.0;
      for (std::size_t i = set; i < set + pass.num_experts; ++i) {
        total += counts[i];
        product += static_cast<double>(counts[i]) * static_cast<double>(sums[i]);
      }
      if (total > 0.0) {
        values.balance += static_cast<double>(pass.num_experts) * product / (total * pass.tokens_per_step);
      }
    }
    values.z += pass.z.values()[0] / pass.tokens_per_step;
  }
  return values;
}

}  // namespace artel
