#pragma once

#include <cstdint>

#include "kernels/cuda/simt.h"

namespace artel::cuda {

constexpr int column_sum_rows = 16;  // partial sums of a column

/// y [num_columns] += sums over the rows of x [num_rows, num_columns], in an order that depends on num_rows alone. Rows
/// of x are `stride` elements apart. Blocks of 32 columns.
template <int num_partials>
__global__ void __launch_bounds__(num_partials* simt::warp_size)
    column_sums_kernel(const float* __restrict__ x, std::int64_t num_rows, std::int64_t num_columns,
                       std::int64_t stride, float* __restrict__ y) {
  SIMT_SHARED(float, partials, [num_partials][simt::warp_size]);
  const int lane = static_cast<int>(threadIdx.x) % simt::warp_size;
  const int part = static_cast<int>(threadIdx.x) / simt::warp_size;
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * simt::warp_size + lane;
  float sum = 0.0F;
  if (column < num_columns) {
#pragma unroll 4
    for (std::int64_t row = part; row < num_rows; row += num_partials) sum += x[row * stride + column];
  }
  partials[part][lane] = sum;
  __syncthreads();
  if (part != 0 || column >= num_columns) return;
  sum = 0.0F;
#pragma unroll
  for (int i = 0; i < num_partials; ++i) sum += partials[i][lane];
  y[column] += sum;
}

inline void add_column_sums(const char* op, cudaStream_t stream, const float* x, std::int64_t num_rows,
                            std::int64_t num_columns, std::int64_t stride, float* y) {
  const std::int64_t num_blocks = simt::ceil_div<std::int64_t>(num_columns, simt::warp_size);
  simt::launch(op, stream, column_sums_kernel<column_sum_rows>, simt::num_blocks(op, num_blocks),
               column_sum_rows * simt::warp_size, 0, x, num_rows, num_columns, stride, y);
}

}  // namespace artel::cuda
