#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

/// From and To: float or bf16.
template <class From, class To>
struct ElementRows {
  /// y [n] = x [n].
  void (*copy)(const From* x, To* y, std::int64_t n);
  /// y [n] += x [n].
  void (*add)(const From* x, To* y, std::int64_t n);
  /// y [num_columns, num_rows] = the transpose of x [num_rows, num_columns]; rows ld_x and ld_y elements apart.
  void (*transpose)(const From* x, std::int64_t ld_x, std::int64_t num_rows, std::int64_t num_columns, To* y,
                    std::int64_t ld_y);
  /// Rows begin .. end-1 of y [R·P, C], = or +=: row r·P + p of y is row p·R + r of x [P·R, C].
  void (*swap)(const From* x, To* y, std::int64_t num_p, std::int64_t num_r, std::int64_t num_columns,
               std::int64_t begin, std::int64_t end, bool accumulate);
};

using ElementRowsF32F32 = ElementRows<float, float>;
using ElementRowsF32Bf16 = ElementRows<float, bf16>;
using ElementRowsBf16F32 = ElementRows<bf16, float>;
using ElementRowsBf16Bf16 = ElementRows<bf16, bf16>;
ARTEL_DECLARE_ROWS(ElementRowsF32F32, element_rows_f32_f32)
ARTEL_DECLARE_ROWS(ElementRowsF32Bf16, element_rows_f32_bf16)
ARTEL_DECLARE_ROWS(ElementRowsBf16F32, element_rows_bf16_f32)
ARTEL_DECLARE_ROWS(ElementRowsBf16Bf16, element_rows_bf16_bf16)

}  // namespace artel::cpu
