#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

template <class T>
struct NormRows {
  /// num_rows rows [d]: sum = x + delta, rounded to T (without delta: nothing; sum and delta null); y = sum·rstd·w.
  void (*forward)(std::int64_t num_rows, std::int64_t d, const T* x, const T* delta, const T* w, float eps, T* sum,
                  T* y, float* rstd);
  /// dx = or += ; dw [d] = the sum over these rows alone.
  void (*backward)(std::int64_t num_rows, std::int64_t d, const T* x, const T* w, const float* rstd, const T* dy, T* dx,
                   bool accumulate_dx, float* dw);
};

ARTEL_DECLARE_ROWS(NormRows<float>, norm_rows_f32)
ARTEL_DECLARE_ROWS(NormRows<bf16>, norm_rows_bf16)

}  // namespace artel::cpu
