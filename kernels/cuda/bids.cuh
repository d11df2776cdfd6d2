#pragma once

// The routing neurons of a token's experts, by one warp: from gates and ups to bids and hidden values, and back. A
// group of neighbouring lanes, a power of two of them, works on an expert. S routing neurons per expert.

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/simt.h"
#include "kernels/cuda/top_k.cuh"

namespace artel::cuda {

inline __device__ float sigmoid(float x) {
  return __fdividef(1.0F, 1.0F + expf(-x));
}
inline __device__ float silu(float x) {
  return x * sigmoid(x);
}

/// SiLU(z) with its derivative: sigmoid(z) (1 + z (1 - sigmoid(z))).
struct Silu {
  float value;
  float slope;
};
inline __device__ Silu silu_with_slope(float x) {
  const float gate = sigmoid(x);
  const float value = x * gate;
  return {value, gate + value * (1.0F - gate)};
}

/// How a bid comes from the routing neurons: which of their values counts, and by which norm.
template <RoutingSignal signal_, RoutingNorm norm_>
struct Bid {
  static constexpr RoutingSignal signal = signal_;
  static constexpr RoutingNorm norm = norm_;

  static __device__ float node(float gate, float a, float h) {
    if (signal == RoutingSignal::gate_preactivation) return gate;
    return signal == RoutingSignal::gate ? a : h;
  }
  /// One more neuron towards the norm (l2: its square).
  static __device__ float add(float total, float node) {
    if (norm == RoutingNorm::l2) return total + node * node;
    return join(total, fabsf(node));
  }
  static __device__ float join(float left, float right) {
    return norm == RoutingNorm::linf ? fmaxf(left, right) : left + right;
  }
  static __device__ float finish(float total) { return norm == RoutingNorm::l2 ? sqrtf(total) : total; }
  /// The gradient of node; factor: that of the bid, over the bid for l2.
  static __device__ float dnode(float node, float factor) {
    if (norm == RoutingNorm::l2) return factor * node;
    return node > 0.0F ? factor : node < 0.0F ? -factor : 0.0F;
  }
};

/// Calls body(Bid<…>()) with the kind that the options name.
template <RoutingSignal signal, class Body>
__device__ void with_norm(RoutingNorm norm, const Body& body) {
  if (norm == RoutingNorm::l2) {
    body(Bid<signal, RoutingNorm::l2>());
  } else if (norm == RoutingNorm::l1) {
    body(Bid<signal, RoutingNorm::l1>());
  } else {
    body(Bid<signal, RoutingNorm::linf>());
  }
}
template <class Body>
__device__ void with_bid(const BidOptions& options, const Body& body) {
  if (options.signal == RoutingSignal::gate) {
    with_norm<RoutingSignal::gate>(options.norm, body);
  } else if (options.signal == RoutingSignal::glu) {
    with_norm<RoutingSignal::glu>(options.norm, body);
  } else {
    with_norm<RoutingSignal::gate_preactivation>(options.norm, body);
  }
}

/// 2^log2 lanes share an expert, or whatever else there is one of for each group.
struct LaneGroups {
  int log2;

  __device__ int size() const { return 1 << log2; }
  /// Groups of a warp.
  __device__ int count() const { return simt::warp_size >> log2; }
  /// Which of them this lane is in.
  __device__ int index() const { return lane_of_warp() >> log2; }
  /// This lane's place in its group.
  __device__ int place() const { return lane_of_warp() & (size() - 1); }
};

/// Rows of neurons, one per expert, `stride` elements apart: [gates, ups] or hidden values; in memory or shared memory.
template <class T>
struct NeuronRows {
  T* data;
  int stride;

  __device__ T* row(int expert) const { return data + static_cast<std::int64_t>(expert) * stride; }
};

/// bids and scores (= bid · score_scale) of `count` experts, from their gates and ups; hidden = shared · h.
template <class Kind, class T>
__device__ void bid(const NeuronRows<const T>& gate_up, const NeuronRows<T>& hidden, int count, int num_neurons,
                    LaneGroups lanes, float shared, float score_scale, float* bids, float* scores) {
  for (int first = 0; first < count; first += lanes.count()) {
    const int expert = first + lanes.index();
    float total = 0.0F;
    if (expert < count) {
      const T* const gate = gate_up.row(expert);
      const T* const up = gate + num_neurons;
      T* const out = hidden.row(expert);
      for (int s = lanes.place(); s < num_neurons; s += lanes.size()) {
        const float g = simt::to_float(gate[s]);
        const float a = silu(g);
        const float h = a * simt::to_float(up[s]);
        total = Kind::add(total, Kind::node(g, a, h));
        out[s] = simt::from_float<T>(h * shared);
      }
    }
    for (int offset = lanes.size() / 2; offset > 0; offset /= 2) {
      total = Kind::join(total, __shfl_xor_sync(simt::full_mask, total, offset));
    }
    if (expert < count && lanes.place() == 0) {
      const float finished = Kind::finish(total);
      bids[expert] = finished;
      scores[expert] = finished * score_scale;
    }
  }
}

/// hidden = (shared + weight) · h for the chosen experts. ids, weights [K].
template <class T>
__device__ void weigh_chosen(const NeuronRows<const T>& gate_up, const NeuronRows<T>& hidden, const int* ids,
                             const float* weights, int top_k, int num_neurons, LaneGroups lanes, float shared) {
  for (int slot = lanes.index(); slot < top_k; slot += lanes.count()) {
    const float c = shared + weights[slot];
    const T* const gate = gate_up.row(ids[slot]);
    const T* const up = gate + num_neurons;
    T* const out = hidden.row(ids[slot]);
    for (int s = lanes.place(); s < num_neurons; s += lanes.size()) {
      const float h = silu(simt::to_float(gate[s])) * simt::to_float(up[s]);
      out[s] = simt::from_float<T>(h * c);
    }
  }
}

/// dots [K] = <dhidden, h> of the chosen experts, written by the first lanes of the groups. ids [K].
template <class T>
__device__ void dot_chosen(const NeuronRows<const T>& gate_up, const NeuronRows<const T>& dhidden, const int* ids,
                           int top_k, int num_neurons, LaneGroups lanes, float* dots) {
  for (int first = 0; first < top_k; first += lanes.count()) {
    const int slot = first + lanes.index();
    float dot = 0.0F;
    if (slot < top_k) {
      const T* const gate = gate_up.row(ids[slot]);
      const T* const up = gate + num_neurons;
      const T* const d = dhidden.row(ids[slot]);
      for (int s = lanes.place(); s < num_neurons; s += lanes.size()) {
        dot += silu(simt::to_float(gate[s])) * simt::to_float(up[s]) * simt::to_float(d[s]);
      }
    }
    for (int offset = lanes.size() / 2; offset > 0; offset /= 2) {
      dot += __shfl_xor_sync(simt::full_mask, dot, offset);
    }
    if (slot < top_k && lanes.place() == 0) dots[slot] = dot;
  }
}

/// The lowest index of the largest |node| of an expert, in all lanes of its group. All lanes of the warp call it;
/// num_neurons is 0 for a group without an expert.
template <class Kind, class T>
__device__ int peak_of(const T* gate, const T* up, int num_neurons, LaneGroups lanes) {
  float best = -1.0F;
  int best_at = INT32_MAX;
  for (int s = lanes.place(); s < num_neurons; s += lanes.size()) {
    const float g = simt::to_float(gate[s]);
    const float a = silu(g);
    const float node = fabsf(Kind::node(g, a, a * simt::to_float(up[s])));
    if (!(node > best)) continue;
    best = node;
    best_at = s;
  }
  for (int offset = lanes.size() / 2; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(simt::full_mask, best, offset);
    const int other_at = __shfl_xor_sync(simt::full_mask, best_at, offset);
    if (other > best || (other == best && other_at < best_at)) {
      best = other;
      best_at = other_at;
    }
  }
  return best_at;
}

/// dgate_up = of `count` experts; it may be gate_up itself. dscores: gradient of bid · score_scale; c: coefficients of
/// h; all [count].
template <class Kind, class T>
__device__ void bid_backward(const NeuronRows<const T>& gate_up, const NeuronRows<const T>& dhidden,
                             const NeuronRows<T>& dgate_up, int count, int num_neurons, LaneGroups lanes,
                             float score_scale, const float* bids, const float* dscores, const float* c) {
  for (int first = 0; first < count; first += lanes.count()) {
    const int expert = first + lanes.index();
    const bool is_expert = expert < count;
    const int size = is_expert ? num_neurons : 0;
    const int row = is_expert ? expert : 0;
    const T* const gate = gate_up.row(row);
    const T* const up = gate + num_neurons;
    int peak = 0;
    if (Kind::norm == RoutingNorm::linf) peak = peak_of<Kind>(gate, up, size, lanes);
    float factor = dscores[row] * score_scale;
    if (Kind::norm == RoutingNorm::l2) factor = bids[row] == 0.0F ? 0.0F : factor / bids[row];
    const T* const d = dhidden.row(row);
    T* const dgate = dgate_up.row(row);
    T* const dup = dgate + num_neurons;
    for (int s = lanes.place(); s < size; s += lanes.size()) {
      const float g = simt::to_float(gate[s]);
      const float u = simt::to_float(up[s]);
      const Silu a = silu_with_slope(g);
      float dnode = Kind::dnode(Kind::node(g, a.value, a.value * u), factor);
      if (Kind::norm == RoutingNorm::linf && s != peak) dnode = 0.0F;
      float dh = c[row] * simt::to_float(d[s]);
      if (Kind::signal == RoutingSignal::glu) dh += dnode;
      float da = dh * u;
      if (Kind::signal == RoutingSignal::gate) da += dnode;
      float dg = da * a.slope;
      if (Kind::signal == RoutingSignal::gate_preactivation) dg += dnode;
      dgate[s] = simt::from_float<T>(dg);
      dup[s] = simt::from_float<T>(dh * a.value);
    }
  }
}

}  // namespace artel::cuda
