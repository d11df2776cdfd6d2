#include "support/reference/swiglu.h"

namespace artel::reference {

Vector swiglu(const Vector& gate_up, const Vector& weights, std::size_t width) {
  Vector hidden(gate_up.size() / 2);
  for (std::size_t i = 0; i < hidden.size(); ++i) {
    const std::size_t row = i / width;
    const double gate = gate_up[row * 2 * width + i % width];
    const double up = gate_up[row * 2 * width + width + i % width];
    hidden[i] = (weights.empty() ? 1.0 : weights[row]) * silu(gate) * up;
  }
  return hidden;
}

SwigluGradients swiglu_backward(const Vector& gate_up, const Vector& weights, std::size_t width,
                                const Vector& dhidden) {
  SwigluGradients result{Vector(gate_up.size()), Vector(weights.size(), 0.0)};
  for (std::size_t i = 0; i < dhidden.size(); ++i) {
    const std::size_t row = i / width;
    const std::size_t gate = row * 2 * width + i % width;
    const std::size_t up = gate + width;
    const double weight = weights.empty() ? 1.0 : weights[row];
    result.dgate_up[gate] = dhidden[i] * weight * gate_up[up] * silu_slope(gate_up[gate]);
    result.dgate_up[up] = dhidden[i] * weight * silu(gate_up[gate]);
    if (!weights.empty()) result.dweights[row] += dhidden[i] * silu(gate_up[gate]) * gate_up[up];
  }
  return result;
}

}  // namespace artel::reference
