#include "model/memory.h"

#include <algorithm>
#include <vector>

#include "core/allocator.h"
#include "model/count.h"
#include "nn/parameter.h"
#include "ops/ops.h"

// T tokens of a micro-batch · d hidden_size · N num_experts · K num_experts_per_tok · A = T·K rows of experts · S
// routing neurons per expert · E width of the routed part · r rank of AoE, both padded as in memory · w bytes of an
// activation.

namespace artel {
namespace {

/// Bytes of tensors that live at the same time, as asked for and as the allocator rounds them.
struct Tensors {
  std::int64_t asked = 0;
  std::int64_t rounded = 0;

  /// `padding`: bytes behind them that are in memory alone.
  void add(std::int64_t bytes, std::int64_t count = 1, std::int64_t padding = 0) {
    if (bytes <= 0) return;
    asked += count * bytes;
    rounded +=
        count * static_cast<std::int64_t>(HostAllocator::rounded_size(static_cast<std::size_t>(bytes + padding)));
  }
  void add(const Tensors& other, std::int64_t count = 1) {
    asked += count * other.asked;
    rounded += count * other.rounded;
  }
};

Tensors larger(const Tensors& a, const Tensors& b) {
  return a.rounded < b.rounded ? b : a;
}

struct Widths {
  Widths(const Config& config, std::int64_t bytes_of_activation, double max_load)
      : w(bytes_of_activation),
        tokens(config.train.micro_batch_size * config.model.max_position_embeddings),
        rows(tokens * config.model.num_experts_per_tok),
        received(config.parallel.expert > 1 ? static_cast<std::int64_t>(max_load * static_cast<double>(rows)) : rows) {
    const ModelConfig& m = config.model;
    uoe = m.num_experts > 0 && m.routing.type == "uoe";
    aoe = m.num_experts > 0 && m.routing.type == "aoe";
    if (m.num_experts > 0) expert = padded_width(expert_width(m));
    if (aoe) low = padded_width(m.routing.aoe.d_low);
    neurons = uoe ? m.num_experts * m.routing.uoe.routing_neurons : 0;
    shared = uoe ? 0 : m.shared_expert_intermediate_size;
    if (m.num_experts == 0) shared = m.intermediate_size;
  }

  std::int64_t w, tokens, rows;
  std::int64_t received;  // rows that this rank's experts compute
  bool uoe = false, aoe = false;
  std::int64_t expert = 0;   // E
  std::int64_t low = 0;      // r
  std::int64_t neurons = 0;  // N·S of UoE
  std::int64_t shared = 0;   // of the real shared expert, or of a dense layer
};

/// What one layer keeps for its backward. `recomputed`: that follows at once, so nothing is left to be made again.
/// `spread`: experts over several ranks, whose rows cannot be gathered again.
Tensors layer_tensors(const ModelConfig& m, const Widths& s, bool recomputed, bool spread) {
  const std::int64_t heads = m.num_attention_heads * m.head_dim;
  const std::int64_t qkv = heads + 2 * m.num_key_value_heads * m.head_dim;
  Tensors kept;
  kept.add(s.tokens * m.hidden_size * s.w, 4);  // the inputs of both norms and what they make of them
  kept.add(s.tokens * qkv * s.w, m.qk_norm ? 2 : 1);
  kept.add(s.tokens * heads * s.w);
  kept.add(4 * s.tokens * m.num_attention_heads);  // log-sum-exp
  kept.add(4 * s.tokens, 2);                       // 1 / rms
  kept.add(s.tokens * 2 * s.shared * s.w);
  if (recomputed) kept.add(s.tokens * s.shared * s.w);
  if (m.num_experts == 0) return kept;
  kept.add(4 * s.tokens * m.num_experts);                      // probabilities
  kept.add(4 * s.rows, 6);                                     // ids, weights in both orders, three indices
  if (s.uoe || s.aoe) kept.add(4 * s.tokens * m.num_experts);  // bids, norms
  kept.add(s.tokens * 2 * s.neurons * s.w);
  kept.add(s.tokens * s.neurons * s.w);
  kept.add(m.hidden_size * s.neurons * s.w);  // the routing neurons' down matrix, packed
  if (s.aoe) {
    kept.add(s.tokens * m.num_experts * s.low * s.w);
    kept.add(s.received * s.low * s.w);
  }
  if (recomputed || spread) kept.add(s.received * m.hidden_size * s.w);
  if (recomputed) kept.add(s.received * s.expert * s.w);
  kept.add(s.received * 2 * s.expert * s.w);
  return kept;
}

/// What the backward of the last feed-forward part needs at its fullest beside everything kept; the order is that of
/// the tape, and what a product has used is gone when the next one begins.
Tensors feed_forward_temporaries(const ModelConfig& m, const Widths& s, bool recomputed, bool spread) {
  const std::int64_t row = s.received * m.hidden_size * s.w;
  Tensors largest;
  const auto moment = [&](std::initializer_list<std::int64_t> tensors) {
    Tensors needed;
    needed.add(s.tokens * m.hidden_size * s.w);  // gradient of the layer's output
    for (const std::int64_t bytes : tensors) needed.add(bytes);
    largest = larger(largest, needed);
  };
  // Gradients of the product of gate and up, and of those; the first has the product's place if that is kept.
  moment({recomputed ? 0 : s.tokens * s.shared * s.w, s.tokens * s.shared * 2 * s.w});
  if (m.num_experts == 0) return largest;
  moment({recomputed ? 0 : s.received * s.expert * s.w, s.received * 2 * s.expert * s.w});
  moment({row, s.received * s.expert * s.w});  // gradient of the experts' outputs; product, or its gradient
  if (spread) moment({row, row, row});         // before, on the way, and sorted by expert
  return largest;
}

/// What the head needs: the last norm's input and output, the gradient of the latter, one chunk of logits.
Tensors head_tensors(const ModelConfig& m, const Widths& s, Device device) {
  Tensors head;
  head.add(s.tokens * m.hidden_size * s.w, 3);
  const std::int64_t num_logits = std::min(rows_of_logits(device, m.vocab_size), s.tokens) * m.vocab_size;
  head.add(4 * num_logits);
  if (s.w < 4) head.add(s.w * num_logits);  // their gradient, rounded
  return head;
}

Tensors activations(const Config& config, std::int64_t w, const RankLayout& layout) {
  const ModelConfig& m = config.model;
  const Widths s(config, w, layout.max_load);
  const bool recomputed = config.train.recompute == "block";
  const bool spread = config.parallel.expert > 1;
  const Tensors layer = layer_tensors(m, s, recomputed, spread);
  const Tensors head = head_tensors(m, s, layout.device);
  const Tensors feed_forward = feed_forward_temporaries(m, s, recomputed, spread);
  Tensors all;
  if (recomputed) {
    // The residual stream and what is to be added to it, between every two layers, and the plan of the dispatch.
    all.add(s.tokens * m.hidden_size * w, 2 * m.num_hidden_layers - 1);
    if (m.num_experts > 0) all.add(4 * s.rows, 3 * m.num_hidden_layers);
    Tensors one_layer = layer;
    one_layer.add(feed_forward);
    all.add(larger(head, one_layer));
  } else {
    all.add(layer, m.num_hidden_layers);
    all.add(larger(head, feed_forward));
  }
  return all;
}

/// Elements of weights that are in memory alone, because experts are padded there: of one expert, and of what every
/// rank has; all layers.
struct Padding {
  std::int64_t expert = 0;
  std::int64_t dense = 0;
};

Padding padding_of(const ModelConfig& m) {
  if (m.num_experts == 0) return {};
  const std::int64_t d = m.hidden_size * m.num_hidden_layers;
  const std::int64_t width = expert_width(m);
  const std::int64_t added = padded_width(width) - width;
  if (m.routing.type != "aoe") return {3 * d * added, 0};
  const std::int64_t low = m.routing.aoe.d_low;
  const std::int64_t gates = m.num_hidden_layers * (padded_width(width) * padded_width(low) - width * low);
  return {gates + 2 * d * added, m.num_experts * (padded_width(low) - low) * d};
}

std::int64_t divided_up(std::int64_t value, std::int64_t parts) {
  return (value + parts - 1) / parts;
}

}  // namespace

bool uses_bf16(const Config& config, const RankLayout& layout) {
  return config.train.precision == "bf16" || (config.train.precision == "auto" && layout.bf16);
}

MemoryEstimate memory_bytes_per_rank(const Config& config, const RankLayout& layout) {
  const ModelCount count = count_model(config.model);
  const std::int64_t expert_ranks = config.parallel.expert;
  const std::int64_t world = std::max(layout.world, expert_ranks);
  const std::int64_t replicas = std::max<std::int64_t>(world / expert_ranks, 1);
  const bool bf16 = uses_bf16(config, layout);
  const std::int64_t w = bf16 ? 2 : 4;
  const std::int64_t per_expert = config.model.num_experts > 0 ? count.expert / config.model.num_experts : 0;
  const std::int64_t experts_here = per_expert * divided_up(config.model.num_experts, expert_ranks);
  const std::int64_t dense = count.total - count.expert;
  const bool sharded = config.parallel.zero_stage == 1;
  const auto divided = [&](std::int64_t of_dense, std::int64_t of_experts) {
    return divided_up(of_dense, sharded ? world : 1) + divided_up(of_experts, sharded ? replicas : 1);
  };
  const Padding padding = padding_of(config.model);
  const std::int64_t padding_here = padding.expert * divided_up(config.model.num_experts, expert_ranks);

  Tensors parameters, gradients, optimizer;
  parameters.add(w * (dense + experts_here), 1, w * (padding.dense + padding_here));
  gradients.add(4 * (dense + experts_here), 1, 4 * (padding.dense + padding_here));
  optimizer.add(4 * divided(dense, experts_here), bf16 ? 3 : 2, 4 * divided(padding.dense, padding_here));
  const Tensors kept = activations(config, w, layout);

  MemoryEstimate memory;
  memory.parameters = parameters.asked;
  memory.gradients = gradients.asked;
  memory.optimizer = optimizer.asked;
  memory.activations = kept.asked;
  for (const Tensors& tensors : {parameters, gradients, optimizer, kept}) {
    memory.rounding += tensors.rounded - tensors.asked;
  }
  memory.communication = 4 * (dense - divided_up(dense, world) + experts_here - divided_up(experts_here, replicas));
  return memory;
}

}  // namespace artel
