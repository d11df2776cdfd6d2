#pragma once

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {

/// SiLU(z) = z · sigmoid(z) with its derivative: sigmoid(z) (1 + z (1 - sigmoid(z))).
struct Silu {
  vfloat value;
  vfloat slope;
};

inline vfloat silu(vfloat z) {
  return z * sigmoid(z);
}

inline Silu silu_with_slope(vfloat z) {
  const vfloat gate = sigmoid(z);
  const vfloat value = z * gate;
  return {value, gate + value * (1.0F - gate)};
}

}  // namespace artel::cpu::ARTEL_ISA
