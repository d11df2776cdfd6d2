#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

/// SwiGLU over a block of rows in one pass. gate_up [num_rows, 2, size]; weights [num_rows] or null (all 1). Outputs
/// must not overlap inputs.
template <class T>
struct SwigluRows {
  /// hidden [num_rows, size] = weight · SiLU(gate) · up.
  void (*forward)(const T* gate_up, const float* weights, T* hidden, std::int64_t num_rows, std::int64_t size);
  /// dgate_up [num_rows, 2, size] = ; dweights [num_rows] = <dhidden, SiLU(gate) · up>, null: not wanted.
  void (*backward)(const T* gate_up, const float* weights, const T* dhidden, T* dgate_up, float* dweights,
                   std::int64_t num_rows, std::int64_t size);
};

ARTEL_DECLARE_ROWS(SwigluRows<float>, swiglu_rows_f32)
ARTEL_DECLARE_ROWS(SwigluRows<bf16>, swiglu_rows_bf16)

}  // namespace artel::cpu
