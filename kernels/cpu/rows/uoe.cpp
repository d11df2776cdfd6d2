#include "kernels/cpu/rows/uoe.h"

#include "kernels/cpu/rows/ragged.h"
#include "kernels/cpu/rows/silu.h"
#include "kernels/cpu/rows/top_k.h"

// An expert has few routing neurons, often an odd number (9, 14, 18): its rows of S elements go through whole vectors
// whose surplus lanes are cut out of sums and spill over what is written next (ragged.h).

namespace artel::cpu::ARTEL_ISA {
namespace {

/// How a bid comes from the routing neurons: which of their values counts, and by which norm.
template <RoutingSignal signal_, RoutingNorm norm_>
struct Bid {
  static constexpr RoutingSignal signal = signal_;
  static constexpr RoutingNorm norm = norm_;

  static vfloat node(vfloat gate, vfloat a, vfloat h) {
    if (signal == RoutingSignal::gate) return a;
    return signal == RoutingSignal::glu ? h : gate;
  }
  /// Lane by lane towards the norm (l2: its square).
  static vfloat add(vfloat total, vfloat node) {
    if (norm == RoutingNorm::l2) return total + node * node;
    return norm == RoutingNorm::l1 ? total + abs(node) : max(abs(node), total);
  }
  static float reduce(vfloat total) { return norm == RoutingNorm::linf ? reduce_max(total) : reduce_add(total); }
  /// The gradient of node; factor: that of the bid, over the bid for l2.
  static vfloat dnode(vfloat node, float factor) {
    if (norm == RoutingNorm::l2) return factor * node;
    return select(node > 0.0F, splat(factor), select(node < 0.0F, splat(-factor), vfloat{}));
  }
};

/// The routing neurons of the experts of one token, and the ends of the blocks that they lie in.
template <class T>
struct Token {
  std::int64_t num_experts;
  std::int64_t num_neurons;
  const T* gate_up;  // [N, 2, S]
  const T* gate_up_end;
};
template <class T>
struct TokenGradient {
  const T* dhidden;  // [N, S]
  const T* dhidden_end;
  T* dgate_up;  // [N, 2, S]
  T* dgate_up_end;
};

/// h [N, whole S], and the bids [N] of one token (l2: their squares).
template <class Kind, class T>
void activate(const Token<T>& token, float* h, float* bids) {
  const std::int64_t size = token.num_neurons;
  const T* const end = token.gate_up_end;
  for (std::int64_t expert = 0; expert < token.num_experts; ++expert) {
    const T* const gate = token.gate_up + expert * 2 * size;
    float* const h_of_expert = h + expert * whole_vectors(size);
    vfloat total{};
    for_ragged_vectors(size, [&](std::int64_t i, auto part) {
      const vfloat g = load_ragged(gate + i, part, end);
      const vfloat a = silu(g);
      const vfloat product = a * load_ragged(gate + size + i, part, end);
      store(h_of_expert + i, product);
      total = Kind::add(total, cut_ragged(Kind::node(g, a, product), part));
    });
    bids[expert] = Kind::reduce(total);
  }
}

/// The lowest index of the largest |node| of one expert, in all lanes.
template <class Kind, class T>
vint peak_of(const T* gate, const T* end, std::int64_t num_neurons) {
  vfloat best = splat(-1.0F);
  vint best_at{};
  for_ragged_vectors(num_neurons, [&](std::int64_t i, auto part) {
    const vfloat g = load_ragged(gate + i, part, end);
    const vfloat a = silu(g);
    const vfloat node = abs(cut_ragged(Kind::node(g, a, a * load_ragged(gate + num_neurons + i, part, end)), part));
    const vint at = lane_numbers() + (std::int32_t)i;
    const vint better = (node > best) | ((node == best) & (at < best_at));
    best = better ? node : best;
    best_at = better ? at : best_at;
  });
  return -largest_lane(best == reduce_max(best) ? -best_at : splat_int(INT32_MIN));
}

/// dgate_up = of one token. c [N]: coefficients; factors [N]: see Bid::dnode.
template <class Kind, class T>
void backward_experts(const Token<T>& token, const TokenGradient<T>& gradient, const float* c, const float* factors) {
  const std::int64_t size = token.num_neurons;
  for (std::int64_t expert = 0; expert < token.num_experts; ++expert) {
    const T* const gate = token.gate_up + expert * 2 * size;
    const T* const dhidden = gradient.dhidden + expert * size;
    T* const dgate = gradient.dgate_up + expert * 2 * size;
    vint peak{};
    if (Kind::norm == RoutingNorm::linf) peak = peak_of<Kind>(gate, token.gate_up_end, size);
    for_ragged_vectors(size, [&](std::int64_t i, auto part) {
      const vfloat g = load_ragged(gate + i, part, token.gate_up_end);
      const vfloat up = load_ragged(gate + size + i, part, token.gate_up_end);
      const Silu act = silu_with_slope(g);
      vfloat dnode = Kind::dnode(Kind::node(g, act.value, act.value * up), factors[expert]);
      if (Kind::norm == RoutingNorm::linf) {
        dnode = select(lane_numbers() + (std::int32_t)i == peak, dnode, vfloat{});
      }
      vfloat dh = c[expert] * load_ragged(dhidden + i, part, gradient.dhidden_end);
      if (Kind::signal == RoutingSignal::glu) dh += dnode;
      vfloat da = dh * up;
      if (Kind::signal == RoutingSignal::gate) da += dnode;
      vfloat dg = da * act.slope;
      if (Kind::signal == RoutingSignal::gate_preactivation) dg += dnode;
      store_ragged(dgate + i, dg, part, gradient.dgate_up_end);
      store_ragged(dgate + size + i, dh * act.value, part, gradient.dgate_up_end);
    });
  }
}

/// The loops over the experts of a token, which differ by signal and norm.
template <class T>
struct ExpertLoops {
  void (*activate)(const Token<T>& token, float* h, float* bids);
  void (*backward)(const Token<T>& token, const TokenGradient<T>& gradient, const float* c, const float* factors);
};
template <class T, class Kind>
constexpr ExpertLoops<T> loops_of_kind = {activate<Kind, T>, backward_experts<Kind, T>};

template <class T, RoutingSignal signal>
ExpertLoops<T> loops_of_signal(RoutingNorm norm) {
  if (norm == RoutingNorm::l1) return loops_of_kind<T, Bid<signal, RoutingNorm::l1>>;
  if (norm == RoutingNorm::linf) return loops_of_kind<T, Bid<signal, RoutingNorm::linf>>;
  return loops_of_kind<T, Bid<signal, RoutingNorm::l2>>;
}
template <class T>
ExpertLoops<T> expert_loops(const BidOptions& options) {
  if (options.signal == RoutingSignal::glu) return loops_of_signal<T, RoutingSignal::glu>(options.norm);
  if (options.signal == RoutingSignal::gate_preactivation) {
    return loops_of_signal<T, RoutingSignal::gate_preactivation>(options.norm);
  }
  return loops_of_signal<T, RoutingSignal::gate>(options.norm);
}

/// c [whole N] of one token: v + u·w_i for the chosen, v for the others.
void fill_coefficients(const BidOptions& options, std::int64_t num_experts, const std::int32_t* ids,
                       const float* weights, float* c) {
  const vfloat shared = splat(options.virtual_shared_expert ? 1.0F : 0.0F);
  for (std::int64_t i = 0; i < num_experts; i += width) store(c + i, shared);
  if (!options.routed_includes_routing_neurons) return;
  for (std::int64_t slot = 0; slot < options.top_k.top_k; ++slot) c[ids[slot]] += weights[slot];
}

template <class T>
void forward(const BidsForward<T>& all, const BidsScratch& scratch, std::int64_t begin, std::int64_t end) {
  const ExpertLoops<T> loops = expert_loops<T>(all.options);
  const std::int64_t num_experts = all.num_experts;
  const std::int64_t size = all.num_neurons;
  T* const hidden_end = all.hidden + end * num_experts * size;
  Token<T> neurons{num_experts, size, nullptr, all.gate_up + end * num_experts * 2 * size};
  float* const scores = scratch.experts;
  float* const c = scratch.experts + whole_vectors(num_experts);
  for (std::int64_t token = begin; token < end; ++token) {
    neurons.gate_up = all.gate_up + token * num_experts * 2 * size;
    float* const bids = all.bids + token * num_experts;
    loops.activate(neurons, scratch.neurons, bids);
    for_vectors(num_experts, [=, &all](std::int64_t i, auto part) {
      vfloat bid = load_part(bids + i, part);
      if (all.options.norm == RoutingNorm::l2) bid = sqrt(bid);
      store_part(bids + i, bid, part);
      store(scores + i, bid * all.options.score_scale);
    });
    choose_top_k(scores, nullptr, num_experts, all.options.top_k, scratch.keys, all.result, token);

    const std::int64_t first_slot = token * all.options.top_k.top_k;
    fill_coefficients(all.options, num_experts, all.result.ids + first_slot, all.result.weights + first_slot, c);
    T* const hidden = all.hidden + token * num_experts * size;
    for (std::int64_t expert = 0; expert < num_experts; ++expert) {
      const float* const h = scratch.neurons + expert * whole_vectors(size);
      for_ragged_vectors(size, [=](std::int64_t i, auto part) {
        store_ragged(hidden + expert * size + i, load(h + i) * c[expert], part, hidden_end);
      });
    }
  }
}

/// <dhidden, h> of one expert.
template <class T>
float dot_hidden(const Token<T>& token, const TokenGradient<T>& gradient, std::int64_t expert) {
  const std::int64_t size = token.num_neurons;
  const T* const gate = token.gate_up + expert * 2 * size;
  const T* const dhidden = gradient.dhidden + expert * size;
  vfloat dot{};
  for_ragged_vectors(size, [&](std::int64_t i, auto part) {
    const vfloat h =
        silu(load_ragged(gate + i, part, token.gate_up_end)) * load_ragged(gate + size + i, part, token.gate_up_end);
    dot += cut_ragged(h * load_ragged(dhidden + i, part, gradient.dhidden_end), part);
  });
  return reduce_add(dot);
}

template <class T>
void backward(const BidsBackward<T>& all, float* scratch, std::int64_t begin, std::int64_t end) {
  const ExpertLoops<T> loops = expert_loops<T>(all.options);
  const std::int64_t num_experts = all.num_experts;
  const std::int64_t size = all.num_neurons;
  const std::int64_t top_k = all.options.top_k.top_k;
  Token<T> neurons{num_experts, size, nullptr, all.gate_up + end * num_experts * 2 * size};
  TokenGradient<T> gradient{nullptr, all.dhidden + end * num_experts * size, nullptr,
                            all.dgate_up + end * num_experts * 2 * size};
  float* const c = scratch;
  float* const factors = c + whole_vectors(num_experts);
  float* const dweights = factors + whole_vectors(num_experts);
  for (std::int64_t token = begin; token < end; ++token) {
    neurons.gate_up = all.gate_up + token * num_experts * 2 * size;
    gradient.dhidden = all.dhidden + token * num_experts * size;
    gradient.dgate_up = all.dgate_up + token * num_experts * 2 * size;
    const std::int32_t* const ids = all.gradient.ids + token * top_k;
    for (std::int64_t slot = 0; slot < top_k; ++slot) {
      dweights[slot] = all.gradient.dweights != nullptr ? all.gradient.dweights[token * top_k + slot] : 0.0F;
      if (all.options.routed_includes_routing_neurons) dweights[slot] += dot_hidden(neurons, gradient, ids[slot]);
    }
    scores_gradient(all.gradient, dweights, num_experts, all.options.top_k, factors, token);
    const float* const bids = all.bids + token * num_experts;
    for_vectors(num_experts, [=, &all](std::int64_t i, auto part) {
      vfloat factor = load(factors + i) * all.options.score_scale;
      if (all.options.norm == RoutingNorm::l2) {
        const vfloat bid = load_part(bids + i, part);
        factor = select(bid == 0.0F, vfloat{}, factor / bid);
      }
      store(factors + i, factor);
    });
    fill_coefficients(all.options, num_experts, ids, all.gradient.weights + token * top_k, c);
    loops.backward(neurons, gradient, c, factors);
  }
}

}  // namespace

extern const UoeRows<float> uoe_rows_f32;
const UoeRows<float> uoe_rows_f32 = {forward<float>, backward<float>};
extern const UoeRows<bf16> uoe_rows_bf16;
const UoeRows<bf16> uoe_rows_bf16 = {forward<bf16>, backward<bf16>};

}  // namespace artel::cpu::ARTEL_ISA
