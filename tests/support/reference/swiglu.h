#pragma once

#include "support/reference/types.h"

namespace artel::reference {

struct SwigluGradients {
  Vector dgate_up;  ///< [A, 2, E]
  Vector dweights;  ///< [A], empty without weights
};
/// hidden [A, E] = weights · SiLU(gate) · up. gate_up [A, 2, E], weights [A] or empty (all 1).
Vector swiglu(const Vector& gate_up, const Vector& weights, std::size_t width);
SwigluGradients swiglu_backward(const Vector& gate_up, const Vector& weights, std::size_t width, const Vector& dhidden);

}  // namespace artel::reference
