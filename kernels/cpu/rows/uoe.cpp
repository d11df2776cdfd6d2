#include "kernels/cpu/rows/uoe.h"

#include "kernels/cpu/rows/ragged.h"
#include "kernels/cpu/rows/silu.h"
#include "kernels/cpu/rows/top_k.h"

// An expert has few routing neurons, often an odd number (9, 14, 18). What is dear, the exponentials, is computed over
// the gates of all experts of a token laid end to end; the rest goes expert by expert through whole vectors whose
// surplus lanes are cut out of sums and spill over what is written next (ragged.h).

namespace artel::cpu::ARTEL_ISA {
namespace {

/// The routing neurons of one token.
template <class T>
struct Token {
  std::int64_t num_experts;
  std::int64_t num_neurons;
  const T* gate_up;      // [N, 2, S]
  const T* gate_up_end;  // of the block
};
template <class T>
struct TokenGradient {
  const T* dhidden;      // [N, S]
  const T* dhidden_end;  // of the block
  T* dgate_up;           // [N, 2, S]
  T* dgate_up_end;       // of the block
};

/// g [N·S] = the gates of all experts.
template <class T>
void unpack_gates(const Token<T>& token, float* g) {
  const std::int64_t size = token.num_neurons;
  for (std::int64_t expert = 0; expert < token.num_experts; ++expert) {
    const T* const gate = token.gate_up + expert * 2 * size;
    for_ragged_vectors(size, [=, &token](std::int64_t i, auto part) {
      store(g + expert * size + i, load_ragged(gate + i, part, token.gate_up_end));
    });
  }
}

/// How a bid comes from the routing neurons: which of their values counts, and by which norm.
template <RoutingSignal signal_, RoutingNorm norm_>
struct Bid {
  static constexpr RoutingSignal signal = signal_;
  static constexpr RoutingNorm norm = norm_;

  /// gate() is only read where it counts.
  template <class Gate>
  static vfloat node(Gate gate, vfloat a, vfloat h) {
    if constexpr (signal == RoutingSignal::gate_preactivation) return gate();
    return signal == RoutingSignal::gate ? a : h;
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

/// h [N·S] and the bids [N] (l2: their squares) from a [N·S].
template <class Kind, class T>
void bid(const Token<T>& token, const float* a, float* h, float* bids) {
  const std::int64_t size = token.num_neurons;
  for (std::int64_t expert = 0; expert < token.num_experts; ++expert) {
    const T* const gate = token.gate_up + expert * 2 * size;
    vfloat total{};
    for_ragged_vectors(size, [&](std::int64_t i, auto part) {
      const vfloat va = load(a + expert * size + i);
      const vfloat vh = va * load_ragged(gate + size + i, part, token.gate_up_end);
      store(h + expert * size + i, vh);
      const vfloat node = Kind::node([&] { return load_ragged(gate + i, part, token.gate_up_end); }, va, vh);
      total = Kind::add(total, cut_ragged(node, part));
    });
    bids[expert] = Kind::reduce(total);
  }
}

/// The lowest index of the largest |node| of one expert, in all lanes. a [S].
template <class Kind, class T>
vint peak_of(const T* gate, const T* end, const float* a, std::int64_t num_neurons) {
  vfloat best = splat(-1.0F);
  vint best_at{};
  for_ragged_vectors(num_neurons, [&](std::int64_t i, auto part) {
    const vfloat va = load(a + i);
    const vfloat vh = va * load_ragged(gate + num_neurons + i, part, end);
    const vfloat node = abs(cut_ragged(Kind::node([&] { return load_ragged(gate + i, part, end); }, va, vh), part));
    const vint at = lane_numbers() + (std::int32_t)i;
    const vint better = (node > best) | ((node == best) & (at < best_at));
    best = better ? node : best;
    best_at = better ? at : best_at;
  });
  return -largest_lane(best == reduce_max(best) ? -best_at : splat_int(INT32_MIN));
}

/// dgate_up = of one token, from a and the slopes of SiLU [N·S]. c [N]: coefficients; factors [N]: see Bid::dnode.
template <class Kind, class T>
void bid_backward(const Token<T>& token, const float* a, const float* slopes, const float* c, const float* factors,
                  const TokenGradient<T>& gradient) {
  const std::int64_t size = token.num_neurons;
  for (std::int64_t expert = 0; expert < token.num_experts; ++expert) {
    const T* const gate = token.gate_up + expert * 2 * size;
    const T* const dhidden = gradient.dhidden + expert * size;
    T* const dgate = gradient.dgate_up + expert * 2 * size;
    vint peak{};
    if (Kind::norm == RoutingNorm::linf) peak = peak_of<Kind>(gate, token.gate_up_end, a + expert * size, size);
    for_ragged_vectors(size, [&](std::int64_t i, auto part) {
      const vfloat va = load(a + expert * size + i);
      const vfloat up = load_ragged(gate + size + i, part, token.gate_up_end);
      const vfloat node = Kind::node([&] { return load_ragged(gate + i, part, token.gate_up_end); }, va, va * up);
      vfloat dnode = Kind::dnode(node, factors[expert]);
      if (Kind::norm == RoutingNorm::linf) {
        dnode = select(lane_numbers() + (std::int32_t)i == peak, dnode, vfloat{});
      }
      vfloat dh = c[expert] * load_ragged(dhidden + i, part, gradient.dhidden_end);
      if (Kind::signal == RoutingSignal::glu) dh += dnode;
      vfloat da = dh * up;
      if (Kind::signal == RoutingSignal::gate) da += dnode;
      vfloat dg = da * load(slopes + expert * size + i);
      if (Kind::signal == RoutingSignal::gate_preactivation) dg += dnode;
      store_ragged(dgate + i, dg, part, gradient.dgate_up_end);
      store_ragged(dgate + size + i, dh * va, part, gradient.dgate_up_end);
    });
  }
}

/// The loops over the experts of a token, which differ by signal and norm.
template <class T>
struct BidLoops {
  void (*forward)(const Token<T>& token, const float* a, float* h, float* bids);
  void (*backward)(const Token<T>& token, const float* a, const float* slopes, const float* c, const float* factors,
                   const TokenGradient<T>& gradient);
};
template <class T, class Kind>
constexpr BidLoops<T> loops_of = {bid<Kind, T>, bid_backward<Kind, T>};

template <class T, RoutingSignal signal>
BidLoops<T> loops_of_signal(RoutingNorm norm) {
  if (norm == RoutingNorm::l1) return loops_of<T, Bid<signal, RoutingNorm::l1>>;
  if (norm == RoutingNorm::linf) return loops_of<T, Bid<signal, RoutingNorm::linf>>;
  return loops_of<T, Bid<signal, RoutingNorm::l2>>;
}
template <class T>
BidLoops<T> bid_loops(const BidOptions& options) {
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
  const BidLoops<T> loops = bid_loops<T>(all.options);
  const std::int64_t num_experts = all.num_experts;
  const std::int64_t size = all.num_neurons;
  T* const hidden_end = all.hidden + end * num_experts * size;
  Token<T> neurons{num_experts, size, nullptr, all.gate_up + end * num_experts * 2 * size};
  float* const a = scratch.neurons[0];
  float* const h = scratch.neurons[1];
  float* const scores = scratch.experts[0];
  float* const c = scratch.experts[1];
  for (std::int64_t token = begin; token < end; ++token) {
    neurons.gate_up = all.gate_up + token * num_experts * 2 * size;
    unpack_gates(neurons, a);
    for (std::int64_t i = 0; i < num_experts * size; i += width) store(a + i, silu(load(a + i)));
    float* const bids = all.bids + token * num_experts;
    loops.forward(neurons, a, h, bids);
    for_vectors(num_experts, [=, &all](std::int64_t i, auto part) {
      vfloat s = load_part(bids + i, part);
      if (all.options.norm == RoutingNorm::l2) s = sqrt(s);
      store_part(bids + i, s, part);
      store(scores + i, s * all.options.score_scale);
    });
    choose_top_k(scores, nullptr, num_experts, all.options.top_k, scratch.keys, all.result, token);

    const std::int64_t first_slot = token * all.options.top_k.top_k;
    fill_coefficients(all.options, num_experts, all.result.ids + first_slot, all.result.weights + first_slot, c);
    T* const hidden = all.hidden + token * num_experts * size;
    for (std::int64_t expert = 0; expert < num_experts; ++expert) {
      for_ragged_vectors(size, [=](std::int64_t i, auto part) {
        store_ragged(hidden + expert * size + i, load(h + expert * size + i) * c[expert], part, hidden_end);
      });
    }
  }
}

/// <dhidden, h> of one expert.
template <class T>
float dot_hidden(const Token<T>& token, const float* a, const TokenGradient<T>& gradient, std::int64_t expert) {
  const std::int64_t size = token.num_neurons;
  const T* const up = token.gate_up + expert * 2 * size + size;
  const T* const dhidden = gradient.dhidden + expert * size;
  vfloat dot{};
  for_ragged_vectors(size, [&](std::int64_t i, auto part) {
    const vfloat h = load(a + expert * size + i) * load_ragged(up + i, part, token.gate_up_end);
    dot += cut_ragged(h * load_ragged(dhidden + i, part, gradient.dhidden_end), part);
  });
  return reduce_add(dot);
}

template <class T>
void backward(const BidsBackward<T>& all, const BidsScratch& scratch, std::int64_t begin, std::int64_t end) {
  const BidLoops<T> loops = bid_loops<T>(all.options);
  const std::int64_t num_experts = all.num_experts;
  const std::int64_t size = all.num_neurons;
  const std::int64_t top_k = all.options.top_k.top_k;
  Token<T> neurons{num_experts, size, nullptr, all.gate_up + end * num_experts * 2 * size};
  TokenGradient<T> gradient{nullptr, all.dhidden + end * num_experts * size, nullptr,
                            all.dgate_up + end * num_experts * 2 * size};
  float* const a = scratch.neurons[0];
  float* const slopes = scratch.neurons[1];
  float* const factors = scratch.experts[0];
  float* const c = scratch.experts[1];
  float* const dweights = scratch.experts[2];
  for (std::int64_t token = begin; token < end; ++token) {
    neurons.gate_up = all.gate_up + token * num_experts * 2 * size;
    gradient.dhidden = all.dhidden + token * num_experts * size;
    gradient.dgate_up = all.dgate_up + token * num_experts * 2 * size;
    unpack_gates(neurons, a);
    for (std::int64_t i = 0; i < num_experts * size; i += width) {
      const Silu act = silu_with_slope(load(a + i));
      store(a + i, act.value);
      store(slopes + i, act.slope);
    }
    const std::int32_t* const ids = all.gradient.ids + token * top_k;
    for (std::int64_t slot = 0; slot < top_k; ++slot) {
      dweights[slot] = all.gradient.dweights != nullptr ? all.gradient.dweights[token * top_k + slot] : 0.0F;
      if (all.options.routed_includes_routing_neurons) dweights[slot] += dot_hidden(neurons, a, gradient, ids[slot]);
    }
    scores_gradient(all.gradient, dweights, num_experts, all.options.top_k, factors, token);
    const float* const bids = all.bids + token * num_experts;
    for_vectors(num_experts, [=, &all](std::int64_t i, auto part) {
      vfloat factor = load(factors + i) * all.options.score_scale;
      if (all.options.norm == RoutingNorm::l2) {
        const vfloat s = load_part(bids + i, part);
        factor = select(s == 0.0F, vfloat{}, factor / s);
      }
      store(factors + i, factor);
    });
    fill_coefficients(all.options, num_experts, ids, all.gradient.weights + token * top_k, c);
    loops.backward(neurons, a, slopes, c, factors, gradient);
  }
}

}  // namespace

extern const UoeRows<float> uoe_rows_f32;
const UoeRows<float> uoe_rows_f32 = {forward<float>, backward<float>};
extern const UoeRows<bf16> uoe_rows_bf16;
const UoeRows<bf16> uoe_rows_bf16 = {forward<bf16>, backward<bf16>};

}  // namespace artel::cpu::ARTEL_ISA
