#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace artel::cpu {

/// Sums in f64 over x [n], in an order that n alone decides.
struct ReductionRows {
  double (*sum)(const float* x, std::int64_t n);
  double (*sum_of_squares)(const float* x, std::int64_t n);
};
ARTEL_DECLARE_ROWS(ReductionRows, reduction_rows)

}  // namespace artel::cpu
