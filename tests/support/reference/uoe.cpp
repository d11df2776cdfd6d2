#include "support/reference/uoe.h"

namespace artel::reference {
namespace {

/// One routing neuron: G and P as stored, a = SiLU(G), h = a·P.
struct Neuron {
  double gate, up, a, h;
};

std::vector<Neuron> neurons_of(const Vector& gate_up, std::size_t expert_of_token, std::size_t neurons) {
  std::vector<Neuron> result;
  for (std::size_t s = 0; s < neurons; ++s) {
    const double gate = gate_up[expert_of_token * 2 * neurons + s];
    const double up = gate_up[expert_of_token * 2 * neurons + neurons + s];
    result.push_back({gate, up, silu(gate), silu(gate) * up});
  }
  return result;
}

double signal_of(const Neuron& neuron, RoutingSignal signal) {
  if (signal == RoutingSignal::gate) return neuron.a;
  return signal == RoutingSignal::glu ? neuron.h : neuron.gate;
}

double norm_of(const Vector& x, RoutingNorm norm) {
  double sum = 0.0;
  double largest = 0.0;
  for (const double value : x) {
    sum += norm == RoutingNorm::l2 ? value * value : std::abs(value);
    largest = std::max(largest, std::abs(value));
  }
  if (norm == RoutingNorm::linf) return largest;
  return norm == RoutingNorm::l2 ? std::sqrt(sum) : sum;
}

/// d norm / dx; of several elements of equal largest magnitude the first counts; 0 for the zero vector.
Vector norm_slope(const Vector& x, RoutingNorm norm) {
  Vector slope(x.size(), 0.0);
  const double value = norm_of(x, norm);
  if (value == 0.0) return slope;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double sign = x[i] > 0.0 ? 1.0 : x[i] < 0.0 ? -1.0 : 0.0;
    if (norm == RoutingNorm::l2) slope[i] = x[i] / value;
    if (norm == RoutingNorm::l1) slope[i] = sign;
    if (norm == RoutingNorm::linf && std::abs(x[i]) == value) {
      slope[i] = sign;
      break;
    }
  }
  return slope;
}

Vector node_of(const std::vector<Neuron>& neurons, RoutingSignal signal) {
  Vector node;
  for (const Neuron& neuron : neurons) node.push_back(signal_of(neuron, signal));
  return node;
}

Vector scaled(Vector x, double factor) {
  for (double& value : x) value *= factor;
  return x;
}

/// Coefficient c [T, N] of the routing neurons: once for the virtual shared expert, once more, weighted, if chosen.
Vector coefficients(const Routing& routing, std::size_t num_experts, const BidOptions& options) {
  Vector c(routing.probs.size(), options.virtual_shared_expert ? 1.0 : 0.0);
  const auto k = static_cast<std::size_t>(options.top_k.top_k);
  for (std::size_t i = 0; i < routing.ids.size() && options.routed_includes_routing_neurons; ++i) {
    c[i / k * num_experts + static_cast<std::size_t>(routing.ids[i])] += routing.weights[i];
  }
  return c;
}

}  // namespace

Vector uoe_bids(const Vector& gate_up, std::size_t num_experts, std::size_t neurons, const BidOptions& options) {
  Vector bids;
  const std::size_t num_tokens = gate_up.size() / (num_experts * 2 * neurons);
  for (std::size_t i = 0; i < num_tokens * num_experts; ++i) {
    bids.push_back(norm_of(node_of(neurons_of(gate_up, i, neurons), options.signal), options.norm));
  }
  return bids;
}

Uoe uoe(const Vector& gate_up, std::size_t num_experts, std::size_t neurons, const Ids& ids,
        const BidOptions& options) {
  Uoe result;
  result.bids = uoe_bids(gate_up, num_experts, neurons, options);
  result.routing = route(scaled(result.bids, options.score_scale), num_experts, ids, options.top_k);
  const Vector c = coefficients(result.routing, num_experts, options);
  for (std::size_t i = 0; i < result.bids.size(); ++i) {
    for (const Neuron& neuron : neurons_of(gate_up, i, neurons)) result.hidden.push_back(c[i] * neuron.h);
  }
  return result;
}

Vector uoe_backward(const Vector& gate_up, std::size_t num_experts, std::size_t neurons, const Ids& ids,
                    const Vector& dweights, const Vector& dhidden, const BidOptions& options,
                    const Auxiliary& auxiliary) {
  const Uoe forward = uoe(gate_up, num_experts, neurons, ids, options);
  const Vector c = coefficients(forward.routing, num_experts, options);
  const auto k = static_cast<std::size_t>(options.top_k.top_k);

  Vector dw = dweights.empty() ? Vector(ids.size(), 0.0) : dweights;
  for (std::size_t i = 0; i < ids.size() && options.routed_includes_routing_neurons; ++i) {
    const std::size_t expert_of_token = i / k * num_experts + static_cast<std::size_t>(ids[i]);
    const std::vector<Neuron> chosen = neurons_of(gate_up, expert_of_token, neurons);
    for (std::size_t s = 0; s < neurons; ++s) dw[i] += dhidden[expert_of_token * neurons + s] * chosen[s].h;
  }
  const Vector scores = scaled(forward.bids, options.score_scale);
  const Vector dbids =
      scaled(route_backward(scores, num_experts, ids, dw, options.top_k, auxiliary), options.score_scale);

  Vector dgate_up(gate_up.size());
  for (std::size_t i = 0; i < dbids.size(); ++i) {
    const std::vector<Neuron> all = neurons_of(gate_up, i, neurons);
    const Vector dnode = scaled(norm_slope(node_of(all, options.signal), options.norm), dbids[i]);
    for (std::size_t s = 0; s < neurons; ++s) {
      double dh = c[i] * dhidden[i * neurons + s];
      if (options.signal == RoutingSignal::glu) dh += dnode[s];
      double da = dh * all[s].up;
      if (options.signal == RoutingSignal::gate) da += dnode[s];
      double dgate = da * silu_slope(all[s].gate);
      if (options.signal == RoutingSignal::gate_preactivation) dgate += dnode[s];
      dgate_up[i * 2 * neurons + s] = dgate;
      dgate_up[i * 2 * neurons + neurons + s] = dh * all[s].a;
    }
  }
  return dgate_up;
}

}  // namespace artel::reference
