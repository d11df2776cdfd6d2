#include "huggingface/upcycle.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "core/rng.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

/// What a target asks of the F neurons: those for every token and those of an expert beside them.
void plan_widths(const ModelConfig& dense, const ModelConfig& target, UpcyclePlan& plan) {
  const std::int64_t width = target.moe_intermediate_size;
  if (target.routing.type == "softmax") {
    plan.num_shared = target.shared_expert_intermediate_size;
    plan.slice_width = width;
    return;
  }
  const std::int64_t neurons = target.routing.uoe.routing_neurons;
  plan.slice_width = width - neurons;
  if (target.routing.uoe.virtual_shared_expert) {
    plan.num_shared = target.num_experts * neurons;
    return;
  }
  plan.whole_experts = true;
  if (width != dense.intermediate_size) {
    fail("import", concat("required model.moe_intermediate_size = ", dense.intermediate_size, ", the dense width, to ",
                          "upcycle to uoe with virtual_shared_expert: false, found ", width));
  }
}

// Widths of an expert that would do, the largest first.
std::string fitting_widths(std::int64_t left, const ModelConfig& target) {
  const std::int64_t routing = target.routing.type == "uoe" ? target.routing.uoe.routing_neurons : 0;
  std::vector<std::string> widths;
  for (std::int64_t groups = 1; groups <= target.num_experts && widths.size() < 4; ++groups) {
    if (target.num_experts % groups == 0 && left % groups == 0) widths.push_back(concat(left / groups + routing));
  }
  return join(widths, ", ");
}

void plan_slices(const ModelConfig& dense, const ModelConfig& target, UpcyclePlan& plan) {
  if (plan.whole_experts) return;
  const std::int64_t left = dense.intermediate_size - plan.num_shared;
  const char* shared =
      target.routing.type == "uoe" ? "num_experts * routing_neurons" : "shared_expert_intermediate_size";
  if (left < 1) {
    fail("import", concat("required model.", shared, " below ", dense.intermediate_size,
                          ", the width of the dense model, found ", plan.num_shared));
  }
  plan.num_slices = left / plan.slice_width;
  if (left % plan.slice_width == 0 && target.num_experts % plan.num_slices == 0) return;
  fail("import", concat("required model.moe_intermediate_size with which a whole number of experts, a divisor of ",
                        "num_experts ", target.num_experts, ", has the ", left, " neurons of the dense model that are ",
                        "left beside ", shared, " ", plan.num_shared, ", found ", target.moe_intermediate_size,
                        "; these would do: ", fitting_widths(left, target)));
}

void plan_weights(const ModelConfig& target, UpcyclePlan& plan) {
  const bool sums_to_one = target.norm_topk_prob || target.num_experts_per_tok == target.num_experts;
  const double sum =
      sums_to_one ? 1.0 : static_cast<double>(target.num_experts_per_tok) / static_cast<double>(target.num_experts);
  plan.routed_scale = static_cast<float>(static_cast<double>(plan.num_slices) / (sum * target.routed_scaling_factor));
  const bool softmax = target.routing.type == "softmax";
  plan.tied_rows = softmax && plan.num_slices > 1 && target.num_experts_per_tok % plan.num_slices == 0;
  if (!sums_to_one) {
    plan.reason = "norm_topk_prob: false leaves the sum of the weights open";
  } else if (plan.num_slices > 1 && !plan.tied_rows) {
    plan.reason = softmax ? concat("num_experts_per_tok is no multiple of the ", plan.num_slices,
                                   " experts that make up the dense feed-forward part")
                          : "a token's experts bid for themselves and need not make up the dense feed-forward part";
  } else if (!softmax && !plan.whole_experts && target.routing.uoe.routed_includes_routing_neurons) {
    plan.reason = "routed_includes_routing_neurons: true counts routing neurons of chosen experts again";
  }
  plan.keeps_function = plan.reason.empty();
}

// The i of "model.layers.3.mlp.experts.{i}.gate_proj.weight"; -1 for other names.
std::int64_t expert_of(const std::string& name) {
  constexpr std::string_view part = ".mlp.experts.";
  const std::size_t at = name.find(part);
  if (at == std::string::npos) return -1;
  std::int64_t index = -1;
  std::from_chars(name.data() + at + part.size(), name.data() + name.size(), index);
  return index;
}

/// The neurons of the dense model that an expert consists of, in its order.
std::vector<std::int64_t> neurons_of_expert(const UpcyclePlan& plan, const ModelConfig& dense,
                                            const ModelConfig& target, std::int64_t expert) {
  const bool uoe = target.routing.type == "uoe";
  const std::int64_t num_routing = uoe ? target.routing.uoe.routing_neurons : 0;
  std::vector<std::int64_t> neurons;
  for (std::int64_t i = 0; i < num_routing; ++i) {
    neurons.push_back((expert * num_routing + i) % dense.intermediate_size);
  }
  if (plan.whole_experts) {  // the others behind its own routing neurons
    for (std::int64_t i = 0; i < dense.intermediate_size - num_routing; ++i) {
      neurons.push_back((neurons[0] + num_routing + i) % dense.intermediate_size);
    }
    return neurons;
  }
  const std::int64_t first = plan.num_shared + expert % plan.num_slices * plan.slice_width;
  for (std::int64_t i = 0; i < plan.slice_width; ++i) neurons.push_back(first + i);
  return neurons;
}

/// Rows of a [F, d] matrix, or columns of a [d, F] one, times a factor per neuron.
std::vector<float> take_neurons(const std::vector<float>& from, std::int64_t hidden_size, bool columns,
                                const std::vector<std::int64_t>& neurons, const std::vector<float>& factors) {
  const auto num = static_cast<std::int64_t>(neurons.size());
  const std::int64_t width = static_cast<std::int64_t>(from.size()) / hidden_size;
  std::vector<float> to(static_cast<std::size_t>(num * hidden_size));
  for (std::int64_t i = 0; i < num; ++i) {
    const std::int64_t neuron = neurons[static_cast<std::size_t>(i)];
    for (std::int64_t j = 0; j < hidden_size; ++j) {
      const std::int64_t source = columns ? j * width + neuron : neuron * hidden_size + j;
      const std::int64_t target = columns ? j * num + i : i * hidden_size + j;
      to[static_cast<std::size_t>(target)] =
          from[static_cast<std::size_t>(source)] * factors[static_cast<std::size_t>(i)];
    }
  }
  return to;
}

// "…mlp.experts.3.gate_proj.weight" or "…mlp.shared_expert.gate_proj.weight" -> "…mlp.gate_proj.weight"
std::string dense_name(const std::string& name) {
  const std::string mlp = ".mlp.";
  const std::size_t begin = name.find(mlp) + mlp.size();
  const std::size_t projection = name.rfind('.', name.rfind('.') - 1) + 1;
  return name.substr(0, begin) + name.substr(projection);
}

std::vector<float> router_rows(const UpcyclePlan& plan, const ModelConfig& target, std::int64_t seed,
                               const HfTensor& tensor) {
  const std::int64_t d = tensor.shape[1];
  const Rng rng(static_cast<std::uint64_t>(seed), tensor.source);
  std::vector<float> values(static_cast<std::size_t>(tensor.shape.numel()));
  for (std::int64_t expert = 0; expert < tensor.shape[0]; ++expert) {
    const std::int64_t row = plan.tied_rows ? expert / plan.num_slices : expert;
    rng.fill_normal(static_cast<std::uint64_t>(row * d), d, target.initializer_range, values.data() + expert * d);
  }
  return values;
}

}  // namespace

UpcyclePlan plan_upcycle(const ModelConfig& dense, const ModelConfig& target) {
  if (target.routing.type != "softmax" && target.routing.type != "uoe") {
    fail("import", concat("required model.routing.type softmax or uoe to upcycle a dense model to, found ",
                          target.routing.type, "; its experts have no dense gate to copy"));
  }
  UpcyclePlan plan;
  plan_widths(dense, target, plan);
  plan_slices(dense, target, plan);
  plan_weights(target, plan);
  return plan;
}

std::string describe_upcycle(const UpcyclePlan& plan, const ModelConfig& target) {
  std::string text = concat("upcycled: ", target.num_experts, " experts, each ");
  if (plan.num_slices == 1) {
    text += plan.num_shared == 0 ? "a copy of the dense feed-forward part"
                                 : concat("a copy of what is left of the dense feed-forward part beside ",
                                          plan.num_shared, " neurons for every token");
  } else {
    text += concat("one of ", plan.num_slices, " slices of ", plan.slice_width, " neurons");
    if (plan.num_shared > 0) text += concat(" of what is left beside ", plan.num_shared, " neurons for every token");
  }
  return text + (plan.keeps_function ? "; logits equal the dense model's but for rounding"
                                     : concat("; logits differ from the dense model's: ", plan.reason));
}

std::vector<float> upcycled_tensor(const UpcyclePlan& plan, const ModelConfig& dense, const ModelConfig& target,
                                   std::int64_t seed, const HfTensor& tensor, const ReadDense& read) {
  const std::string& name = tensor.source;
  if (name.ends_with(".mlp.gate.weight")) return router_rows(plan, target, seed, tensor);
  const std::int64_t expert = expert_of(name);
  const bool shared = name.find(".mlp.shared_expert.") != std::string::npos;
  if (expert < 0 && !shared) return read(name);

  const bool columns = name.ends_with(".down_proj.weight");
  std::vector<std::int64_t> neurons(static_cast<std::size_t>(plan.num_shared));
  std::iota(neurons.begin(), neurons.end(), 0);
  if (!shared) neurons = neurons_of_expert(plan, dense, target, expert);
  std::vector<float> factors(neurons.size(), 1.0F);
  if (columns && !shared) {
    // Routing neurons that are the virtual shared expert count once, not by an expert's weight.
    const bool counted_once = target.routing.type == "uoe" && !plan.whole_experts;
    const std::int64_t first = counted_once ? target.routing.uoe.routing_neurons : 0;
    std::fill(factors.begin() + first, factors.end(), plan.routed_scale);
  }
  return take_neurons(read(dense_name(name)), target.hidden_size, columns, neurons, factors);
}

}  // namespace artel
