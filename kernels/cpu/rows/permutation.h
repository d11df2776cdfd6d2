#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

/// Rows of `size` elements that lie `x_stride` and `y_stride` elements apart.
template <class T>
struct PermutationRows {
  /// y[index[a]] += x[a] for a = 0 .. num_rows-1.
  void (*scatter_add)(const T* x, std::int64_t x_stride, const std::int32_t* index, std::int64_t num_rows, T* y,
                      std::int64_t y_stride, std::int64_t size);
  /// y [num_tokens, size] = or += sum of x[row_of_slot[slot]] over the slots token_offsets[t] .. token_offsets[t+1]-1,
  /// ascending.
  void (*sum)(const T* x, std::int64_t x_stride, const std::int32_t* token_offsets, const std::int32_t* row_of_slot,
              std::int64_t num_tokens, T* y, std::int64_t y_stride, std::int64_t size, bool accumulate);
};

ARTEL_DECLARE_ROWS(PermutationRows<float>, permutation_rows_f32)
ARTEL_DECLARE_ROWS(PermutationRows<bf16>, permutation_rows_bf16)

}  // namespace artel::cpu
