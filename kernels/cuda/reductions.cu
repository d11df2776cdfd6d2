#include "kernels/checks/reductions.h"

#include <algorithm>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"

// Sums in f64: one block per fixed chunk of x gives a partial sum, then one block adds up the partial sums. Which
// element a thread adds when depends on n alone, also where x is not aligned for packs.

namespace artel {
namespace {

constexpr int block_size = 256;
constexpr int width = 4;
constexpr int steps = 16;
constexpr int chunk = block_size * width * steps;
constexpr int most_threads = 1024;

using Floats = simt::Pack<float, width>;

template <bool squared>
__device__ void add_pack(const Floats& pack, double (&sums)[width]) {
#pragma unroll
  for (int k = 0; k < width; ++k) {
    const double x = pack.values[k];
    sums[k] += squared ? x * x : x;
  }
}

/// partials [number of blocks] = sums of the chunks of x [n].
template <bool squared>
__global__ void __launch_bounds__(block_size)
    partial_sums_kernel(const float* x, std::int64_t n, bool packed, double* partials) {
  SIMT_SHARED(double, shared, [32]);
  const std::int64_t first = std::int64_t{blockIdx.x} * chunk + std::int64_t{threadIdx.x} * width;
  double sums[width] = {};
  if (packed && (blockIdx.x + std::int64_t{1}) * chunk <= n) {
#pragma unroll 8
    for (int step = 0; step < steps; ++step) {
      add_pack<squared>(*reinterpret_cast<const Floats*>(x + first + step * block_size * width), sums);
    }
  } else {
    for (int step = 0; step < steps; ++step) {
      const std::int64_t i = first + step * block_size * width;
      Floats pack = {};
      for (int k = 0; k < width; ++k) {
        if (i + k < n) pack.values[k] = x[i + k];
      }
      add_pack<squared>(pack, sums);
    }
  }
  const double sum = simt::block_sum((sums[0] + sums[1]) + (sums[2] + sums[3]), shared);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

/// sum [1] = the partial sums [n]; one block.
__global__ void __launch_bounds__(most_threads)
    sum_partials_kernel(const double* partials, std::int64_t n, double* sum) {
  SIMT_SHARED(double, shared, [32]);
  double mine = 0.0;
#pragma unroll 4
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) mine += partials[i];
  const double total = simt::block_sum(mine, shared);
  if (threadIdx.x == 0) *sum = total;
}

/// sum [1] += x [n], in order. One warp, of which one thread works.
__global__ void __launch_bounds__(simt::warp_size) add_up_kernel(const double* x, std::int64_t n, double* sum) {
  if (threadIdx.x != 0) return;
  double total = *sum;
  for (std::int64_t i = 0; i < n; ++i) total += x[i];
  *sum = total;
}

template <bool squared>
void reduce(const char* op, cudaStream_t stream, const Tensor& x, double* partials, const Tensor& sum) {
  const float* const data = cuda::device_data<float>(x);
  const std::int64_t n = x.numel();
  const std::int64_t num_partials = simt::ceil_div<std::int64_t>(n, chunk);
  simt::launch(op, stream, partial_sums_kernel<squared>, simt::num_blocks(op, num_partials), block_size, 0, data, n,
               simt::packs(data, 0, 0), partials);
  const std::int64_t threads =
      std::clamp<std::int64_t>(simt::ceil_div<std::int64_t>(num_partials, 32) * 32, 32, most_threads);
  simt::launch(op, stream, sum_partials_kernel, 1, static_cast<unsigned>(threads), 0, partials, num_partials,
               cuda::device_data<double>(sum));
}

}  // namespace

void CudaBackend::sum(In x, Out sum) {
  check_reduction("sum", x, sum);
  reduce<false>("sum", stream_, x, scratch_of<double>(0, simt::ceil_div<std::int64_t>(x.numel(), chunk)), sum);
}

void CudaBackend::sum_of_squares(In x, Out sum) {
  check_reduction("sum_of_squares", x, sum);
  reduce<true>("sum_of_squares", stream_, x, scratch_of<double>(0, simt::ceil_div<std::int64_t>(x.numel(), chunk)),
               sum);
}

void CudaBackend::add_up(In x, InOut sum) {
  check_add_up(x, sum);
  if (x.numel() == 0) return;
  simt::launch("add_up", stream_, add_up_kernel, 1, simt::warp_size, 0, cuda::device_data<double>(x), x.numel(),
               cuda::device_data<double>(sum));
}

}  // namespace artel
