#include <algorithm>
#include <cstdint>

#include "kernels/checks/permutation.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"

// Rows move in units of 16 bytes where all of them can, else element by element. Some threads, a power of two of them,
// share a row; the rest of a block has other rows.

namespace artel {
namespace {

constexpr int rows_block = 256;

/// A matrix whose rows are of `size` units, `stride` units apart.
template <class T>
struct Rows {
  T* data;
  std::int64_t stride;

  __device__ T* row(std::int64_t index) const { return data + index * stride; }
};

/// What a thread does: units `first`, first + threads, … of a row.
struct RowPart {
  std::int64_t row;
  int first;
  int threads;

  __device__ explicit RowPart(int log2_threads)
      : row((static_cast<std::int64_t>(blockIdx.x) * rows_block + threadIdx.x) >> log2_threads),
        first(static_cast<int>(threadIdx.x) & ((1 << log2_threads) - 1)),
        threads(1 << log2_threads) {}
};

template <class T>
__global__ void __launch_bounds__(rows_block)
    gather_rows_kernel(const Rows<const T> x, const int* index, std::int64_t num_rows, std::int64_t size,
                       int log2_threads, const Rows<T> y) {
  const RowPart part(log2_threads);
  if (part.row >= num_rows) return;
  const T* const from = x.row(index[part.row]);
  T* const to = y.row(part.row);
#pragma unroll 4
  for (std::int64_t i = part.first; i < size; i += part.threads) to[i] = from[i];
}

__device__ float add(float x, float y) {
  return x + y;
}
__device__ int add(int x, int y) {
  return x + y;
}
__device__ __nv_bfloat16 add(__nv_bfloat16 x, __nv_bfloat16 y) {
  return __float2bfloat16(__bfloat162float(x) + __bfloat162float(y));
}

template <class T, int width>
__global__ void __launch_bounds__(rows_block)
    scatter_add_rows_kernel(const Rows<const simt::Pack<T, width>> x, const int* index, std::int64_t num_rows,
                            std::int64_t size, int log2_threads, const Rows<simt::Pack<T, width>> y) {
  const RowPart part(log2_threads);
  if (part.row >= num_rows) return;
  const simt::Pack<T, width>* const from = x.row(part.row);
  simt::Pack<T, width>* const to = y.row(index[part.row]);
  for (std::int64_t i = part.first; i < size; i += part.threads) {
    const simt::Pack<T, width> summand = from[i];
    simt::Pack<T, width> sum = to[i];
#pragma unroll
    for (int j = 0; j < width; ++j) sum.values[j] = add(sum.values[j], summand.values[j]);
    to[i] = sum;
  }
}

template <class T, int width>
__global__ void __launch_bounds__(rows_block)
    sum_rows_kernel(const Rows<const simt::Pack<T, width>> x, const int* token_offsets, const int* row_of_slot,
                    std::int64_t num_tokens, std::int64_t size, int log2_threads, const Rows<simt::Pack<T, width>> y,
                    bool accumulate) {
  const RowPart part(log2_threads);
  if (part.row >= num_tokens) return;
  const int begin = token_offsets[part.row];
  const int end = token_offsets[part.row + 1];
  for (std::int64_t i = part.first; i < size; i += part.threads) {
    float sums[width] = {};
#pragma unroll 4
    for (int slot = begin; slot < end; ++slot) {
      const simt::Pack<T, width> summand = x.row(row_of_slot[slot])[i];
#pragma unroll
      for (int j = 0; j < width; ++j) sums[j] += simt::to_float(summand.values[j]);
    }
    simt::Pack<T, width>* const to = y.row(part.row) + i;
    simt::Pack<T, width> result{};
    if (accumulate) result = *to;
#pragma unroll
    for (int j = 0; j < width; ++j) {
      result.values[j] = simt::from_float<T>(accumulate ? sums[j] + simt::to_float(result.values[j]) : sums[j]);
    }
    *to = result;
  }
}

/// Threads that share a row of `size` units: as many as have nearly all something to do at every step.
int log2_threads_for(std::int64_t size) {
  constexpr int most = 7;
  constexpr int enough = 5;
  for (int log2 = most; log2 > enough; --log2) {
    const std::int64_t threads = std::int64_t{1} << log2;
    if (10 * size >= 9 * simt::ceil_div(size, threads) * threads) return log2;
  }
  int log2 = 0;
  while (log2 < enough && (std::int64_t{1} << log2) < size) ++log2;
  return log2;
}

unsigned blocks_for(const char* op, std::int64_t num_rows, int log2_threads) {
  return simt::num_blocks(op, simt::ceil_div(num_rows, std::int64_t{rows_block >> log2_threads}));
}

/// A matrix in units of U.
template <class U>
Rows<U> rows_of(const Tensor& t, std::int64_t row_bytes) {
  return {static_cast<U*>(t.raw()), row_bytes / static_cast<std::int64_t>(sizeof(U))};
}

std::int64_t stride_bytes(const Tensor& t) {
  return t.row_stride() * static_cast<std::int64_t>(dtype_size(t.dtype()));
}

/// Whether rows of x and y, of the same size, can be taken in units of `unit` bytes.
bool are_units(const Tensor& x, const Tensor& y, std::int64_t row_bytes, std::int64_t unit) {
  const auto fits = [unit](const Tensor& t) {
    const bool one_row = t.size(0) <= 1;
    return reinterpret_cast<std::uintptr_t>(t.raw()) % static_cast<std::uintptr_t>(unit) == 0 &&
           (one_row || stride_bytes(t) % unit == 0);
  };
  return row_bytes % unit == 0 && fits(x) && fits(y);
}

template <class U>
void run_gather(cudaStream_t stream, In x, In index, Out y, std::int64_t row_bytes) {
  const std::int64_t size = row_bytes / static_cast<std::int64_t>(sizeof(U));
  const int log2_threads = log2_threads_for(size);
  simt::launch("gather_rows", stream, gather_rows_kernel<U>, blocks_for("gather_rows", y.size(0), log2_threads),
               rows_block, 0, rows_of<const U>(x, stride_bytes(x)), index.data<std::int32_t>(), y.size(0), size,
               log2_threads, rows_of<U>(y, stride_bytes(y)));
}

template <class T, int width>
void run_scatter_add(cudaStream_t stream, In x, In index, InOut y) {
  using Pack = simt::Pack<T, width>;
  const std::int64_t size = x.size(1) / width;
  const int log2_threads = log2_threads_for(size);
  simt::launch("scatter_add_rows", stream, scatter_add_rows_kernel<T, width>,
               blocks_for("scatter_add_rows", x.size(0), log2_threads), rows_block, 0,
               rows_of<const Pack>(x, stride_bytes(x)), index.data<std::int32_t>(), x.size(0), size, log2_threads,
               rows_of<Pack>(y, stride_bytes(y)));
}

template <class T, int width>
void run_sum(cudaStream_t stream, In x, In token_offsets, In row_of_slot, Out y, Accumulate accumulate) {
  using Pack = simt::Pack<T, width>;
  const std::int64_t size = y.size(1) / width;
  const int log2_threads = log2_threads_for(size);
  simt::launch("sum_rows", stream, sum_rows_kernel<T, width>, blocks_for("sum_rows", y.size(0), log2_threads),
               rows_block, 0, rows_of<const Pack>(x, stride_bytes(x)), token_offsets.data<std::int32_t>(),
               row_of_slot.data<std::int32_t>(), y.size(0), size, log2_threads, rows_of<Pack>(y, stride_bytes(y)),
               accumulate == Accumulate::yes);
}

std::int64_t row_bytes_of(const Tensor& t) {
  return t.size(1) * static_cast<std::int64_t>(dtype_size(t.dtype()));
}

}  // namespace

void CudaBackend::gather_rows(In x, In index, Out y) {
  check_gather_rows(x, index, y);
  const std::int64_t row_bytes = row_bytes_of(x);
  if (y.numel() == 0) return;
  if (are_units(x, y, row_bytes, 16)) return run_gather<uint4>(stream_, x, index, y, row_bytes);
  if (are_units(x, y, row_bytes, 4)) return run_gather<std::uint32_t>(stream_, x, index, y, row_bytes);
  run_gather<std::uint16_t>(stream_, x, index, y, row_bytes);
}

void CudaBackend::scatter_add_rows(In x, In index, InOut y) {
  check_scatter_add_rows(x, index, y);
  if (x.numel() == 0) return;
  const auto run = [&]<class T>(T) {
    if (are_units(x, y, row_bytes_of(x), 16)) {
      run_scatter_add<T, simt::pack_width<T>>(stream_, x, index, y);
    } else {
      run_scatter_add<T, 1>(stream_, x, index, y);
    }
  };
  if (x.dtype() == DType::i32) return run(std::int32_t());
  cuda::with_act(x.dtype(), run);
}

void CudaBackend::sum_rows(In x, In token_offsets, In row_of_slot, Out y, Accumulate accumulate) {
  const DType act = check_sum_rows(x, token_offsets, row_of_slot, y);
  if (y.numel() == 0) return;
  cuda::with_act(act, [&]<class T>(T) {
    if (are_units(x, y, row_bytes_of(x), 16)) {
      run_sum<T, simt::pack_width<T>>(stream_, x, token_offsets, row_of_slot, y, accumulate);
    } else {
      run_sum<T, 1>(stream_, x, token_offsets, row_of_slot, y, accumulate);
    }
  });
}

}  // namespace artel
