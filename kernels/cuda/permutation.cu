#include <algorithm>
#include <cstdint>
#include <string>

#include "kernels/checks/permutation.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"
#include "util/error.h"

// Rows move in units of 16 bytes where all of them can, else element by element. Some threads, a power of two of them,
// share a row; the rest of a block has other rows.

namespace artel {
namespace {

constexpr int rows_block = 256;

/// How rows of `size` units are shared out. Strides are in units as well. What is read and what is written are apart.
struct RowWork {
  std::int64_t num_rows;
  int size;
  int log2_threads;  ///< of the threads that share a row
  int num_steps;     ///< units that a thread has, at most

  __device__ std::int64_t row() const {
    return (static_cast<std::int64_t>(blockIdx.x) * rows_block + threadIdx.x) >> log2_threads;
  }
  /// The unit of this thread at a step; beyond the row, there is none.
  __device__ int unit(int step) const {
    return (static_cast<int>(threadIdx.x) & ((1 << log2_threads) - 1)) + (step << log2_threads);
  }
};

template <class T>
__global__ void __launch_bounds__(rows_block)
    gather_rows_kernel(const T* __restrict__ x, std::int64_t x_stride, const int* __restrict__ index,
                       const RowWork work, T* __restrict__ y, std::int64_t y_stride) {
  const std::int64_t row = work.row();
  if (row >= work.num_rows) return;
  const T* const from = x + index[row] * x_stride;
  T* const to = y + row * y_stride;
  constexpr int batch = 4;  // units on their way at once
  for (int step = 0; step < work.num_steps; step += batch) {
    T units[batch] = {};
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      if (work.unit(step + j) < work.size) units[j] = from[work.unit(step + j)];
    }
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      if (work.unit(step + j) < work.size) to[work.unit(step + j)] = units[j];
    }
  }
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
    scatter_add_rows_kernel(const simt::Pack<T, width>* __restrict__ x, std::int64_t x_stride,
                            const int* __restrict__ index, const RowWork work, simt::Pack<T, width>* __restrict__ y,
                            std::int64_t y_stride) {
  const std::int64_t row = work.row();
  if (row >= work.num_rows) return;
  const simt::Pack<T, width>* const from = x + row * x_stride;
  simt::Pack<T, width>* const to = y + index[row] * y_stride;
#pragma unroll 2
  for (int step = 0; step < work.num_steps; ++step) {
    const int i = work.unit(step);
    if (i >= work.size) continue;
    const simt::Pack<T, width> summand = from[i];
    simt::Pack<T, width> sum = to[i];
#pragma unroll
    for (int j = 0; j < width; ++j) sum.values[j] = add(sum.values[j], summand.values[j]);
    to[i] = sum;
  }
}

template <class T, int width>
__global__ void __launch_bounds__(rows_block)
    sum_rows_kernel(const simt::Pack<T, width>* __restrict__ x, std::int64_t x_stride,
                    const int* __restrict__ token_offsets, const int* __restrict__ row_of_slot, const RowWork work,
                    simt::Pack<T, width>* __restrict__ y, std::int64_t y_stride, bool accumulate) {
  const std::int64_t token = work.row();
  if (token >= work.num_rows) return;
  const int begin = token_offsets[token];
  const int end = token_offsets[token + 1];
  for (int i = work.unit(0); i < work.size; i += 1 << work.log2_threads) {
    float sums[width] = {};
#pragma unroll 4
    for (int slot = begin; slot < end; ++slot) {
      const simt::Pack<T, width> summand = x[row_of_slot[slot] * x_stride + i];
#pragma unroll
      for (int j = 0; j < width; ++j) sums[j] += simt::to_float(summand.values[j]);
    }
    simt::Pack<T, width>* const to = y + token * y_stride + i;
    simt::Pack<T, width> result{};
    if (accumulate) result = *to;
#pragma unroll
    for (int j = 0; j < width; ++j) {
      result.values[j] = simt::from_float<T>(accumulate ? sums[j] + simt::to_float(result.values[j]) : sums[j]);
    }
    *to = result;
  }
}

/// As many threads share a row as have nearly all something to do at every step.
RowWork share_out(const char* op, std::int64_t num_rows, std::int64_t size) {
  constexpr int most = 7;
  constexpr int enough = 5;
  if (size > INT32_MAX) {
    fail(op, "required rows of at most " + std::to_string(INT32_MAX) + " units, found " + std::to_string(size));
  }
  int log2 = most;
  for (; log2 > enough; --log2) {
    const std::int64_t threads = std::int64_t{1} << log2;
    if (10 * size >= 9 * simt::ceil_div(size, threads) * threads) break;
  }
  while (log2 > 0 && (std::int64_t{1} << (log2 - 1)) >= size) --log2;
  return {num_rows, static_cast<int>(size), log2, static_cast<int>(simt::ceil_div(size, std::int64_t{1} << log2))};
}

unsigned blocks_for(const char* op, const RowWork& work) {
  return simt::num_blocks(op, simt::ceil_div(work.num_rows, std::int64_t{rows_block >> work.log2_threads}));
}

std::int64_t stride_bytes(const Tensor& t) {
  return t.row_stride() * static_cast<std::int64_t>(dtype_size(t.dtype()));
}

/// From row to row of t, in units of U.
template <class U>
std::int64_t stride_of(const Tensor& t) {
  return stride_bytes(t) / static_cast<std::int64_t>(sizeof(U));
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
  const RowWork work = share_out("gather_rows", y.size(0), row_bytes / static_cast<std::int64_t>(sizeof(U)));
  simt::launch("gather_rows", stream, gather_rows_kernel<U>, blocks_for("gather_rows", work), rows_block, 0,
               static_cast<const U*>(x.raw()), stride_of<U>(x), index.data<std::int32_t>(), work,
               static_cast<U*>(y.raw()), stride_of<U>(y));
}

template <class T, int width>
void run_scatter_add(cudaStream_t stream, In x, In index, InOut y) {
  using Pack = simt::Pack<T, width>;
  const RowWork work = share_out("scatter_add_rows", x.size(0), x.size(1) / width);
  simt::launch("scatter_add_rows", stream, scatter_add_rows_kernel<T, width>, blocks_for("scatter_add_rows", work),
               rows_block, 0, static_cast<const Pack*>(x.raw()), stride_of<Pack>(x), index.data<std::int32_t>(), work,
               static_cast<Pack*>(y.raw()), stride_of<Pack>(y));
}

template <class T, int width>
void run_sum(cudaStream_t stream, In x, In token_offsets, In row_of_slot, Out y, Accumulate accumulate) {
  using Pack = simt::Pack<T, width>;
  const RowWork work = share_out("sum_rows", y.size(0), y.size(1) / width);
  simt::launch("sum_rows", stream, sum_rows_kernel<T, width>, blocks_for("sum_rows", work), rows_block, 0,
               static_cast<const Pack*>(x.raw()), stride_of<Pack>(x), token_offsets.data<std::int32_t>(),
               row_of_slot.data<std::int32_t>(), work, static_cast<Pack*>(y.raw()), stride_of<Pack>(y),
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
