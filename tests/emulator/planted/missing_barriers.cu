#include <mma.h>

#include "emulator/planted/launch.h"

namespace planted {
namespace {

constexpr unsigned full_mask = artel::simt::full_mask;

__global__ void sum_kernel(const float* x, float* sum) {
  SIMT_SHARED(float, partials, [4]);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float of_warp = artel::simt::warp_sum(x[threadIdx.x]);
  if (lane == 0) partials[threadIdx.x / 32] = of_warp;  // BUG sum_without_barrier
  if (threadIdx.x == 0) {
    *sum = partials[0] + partials[1] + partials[2] + partials[3];  // BUG sum_without_barrier
  }
}

__global__ void scan_kernel(const int* x, int* sums) {
  SIMT_SHARED(int, values, [128]);
  const int i = static_cast<int>(threadIdx.x);
  values[i] = x[i];
  __syncthreads();
  for (int distance = 1; distance < 128; distance *= 2) {
    const int other = i >= distance ? values[i - distance] : 0;  // BUG scan_without_barrier
    values[i] += other;                                          // BUG scan_without_barrier
    __syncthreads();
  }
  sums[i] = values[i];
}

__global__ void tile_kernel(const float* x, float* y) {
  SIMT_SHARED(float, tile, [128]);
  const int i = static_cast<int>(threadIdx.x);
  float sum = 0;
  for (int k = 0; k < 4; ++k) {
    tile[i] = x[k * 128 + i];  // BUG tile_without_barrier_before_reuse
    __syncthreads();
    sum += tile[127 - i];  // BUG tile_without_barrier_before_reuse
  }
  y[i] = sum;
}

__global__ void broadcast_kernel(const float* x, float* y) {
  SIMT_SHARED(float, value, [1]);
  if (threadIdx.x == 0) value[0] = x[0];  // BUG broadcast_without_barrier
  y[threadIdx.x] = value[0];              // BUG broadcast_without_barrier
}

__global__ void some_warps_kernel(const float* x, float* y) {
  SIMT_SHARED(float, values, [128]);
  values[threadIdx.x] = x[threadIdx.x];              // BUG barrier_in_some_warps_only
  if (threadIdx.x < 64) __syncthreads();             // BUG barrier_in_some_warps_only
  y[threadIdx.x] = values[(threadIdx.x + 1) % 128];  // BUG barrier_in_some_warps_only
}

__global__ void sync_warp_kernel(const float* x, float* y) {
  SIMT_SHARED(float, values, [32]);
  values[threadIdx.x] = x[threadIdx.x];       // BUG exchange_without_sync_warp
  y[threadIdx.x] = values[31 - threadIdx.x];  // BUG exchange_without_sync_warp
}

__global__ void shuffle_kernel(const float* x, float* y) {
  SIMT_SHARED(float, values, [32]);
  values[threadIdx.x] = x[threadIdx.x];
  const float other = __shfl_xor_sync(full_mask, x[threadIdx.x], 1);
  y[threadIdx.x] = values[31 - threadIdx.x] + other;  // BUG shuffle_as_sync_warp
}

__global__ void wmma_kernel(const float* x, float* y) {
  using namespace nvcuda;
  SIMT_SHARED(float, matrix, [256]);
  for (unsigned i = threadIdx.x; i < 256; i += 32) matrix[i] = x[i];
  __syncwarp();
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> fragment;
  wmma::load_matrix_sync(fragment, matrix, 16, wmma::mem_row_major);
  for (int i = 0; i < fragment.num_elements; ++i) fragment.x[i] *= 2;
  __syncwarp();
  wmma::store_matrix_sync(matrix, fragment, 16, wmma::mem_row_major);  // BUG wmma_without_sync_warp
  for (unsigned i = threadIdx.x; i < 256; i += 32) y[i] = matrix[i];   // BUG wmma_without_sync_warp
}

}  // namespace

void sum_without_barrier(const float* x, float* sum, cudaStream_t stream) {
  launch(stream, sum_kernel, 1, 128, 0, x, sum);
}
void scan_without_barrier(const int* x, int* sums, cudaStream_t stream) {
  launch(stream, scan_kernel, 1, 128, 0, x, sums);
}
void tile_without_barrier_before_reuse(const float* x, float* y, cudaStream_t stream) {
  launch(stream, tile_kernel, 1, 128, 0, x, y);
}
void broadcast_without_barrier(const float* x, float* y, cudaStream_t stream) {
  launch(stream, broadcast_kernel, 1, 128, 0, x, y);
}
void barrier_in_some_warps_only(const float* x, float* y, cudaStream_t stream) {
  launch(stream, some_warps_kernel, 1, 128, 0, x, y);
}
void exchange_without_sync_warp(const float* x, float* y, cudaStream_t stream) {
  launch(stream, sync_warp_kernel, 1, 32, 0, x, y);
}
void shuffle_as_sync_warp(const float* x, float* y, cudaStream_t stream) {
  launch(stream, shuffle_kernel, 1, 32, 0, x, y);
}
void wmma_without_sync_warp(const float* x, float* y, cudaStream_t stream) {
  launch(stream, wmma_kernel, 1, 32, 0, x, y);
}

}  // namespace planted
