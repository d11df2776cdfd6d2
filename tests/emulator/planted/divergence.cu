#include <mma.h>

#include "emulator/planted/launch.h"

namespace planted {
namespace {

constexpr unsigned full_mask = artel::simt::full_mask;

__global__ void exit_before_barrier_kernel(float* y) {
  if (threadIdx.x >= 96) return;
  __syncthreads();  // BUG exit_before_barrier
  y[threadIdx.x] = 1;
}

__global__ void exit_before_shuffle_kernel(float* y) {
  if (threadIdx.x % 32 >= 30) return;
  y[threadIdx.x] = __shfl_xor_sync(full_mask, 1.0F, 1);  // BUG exit_before_shuffle
}

__global__ void shuffle_against_barrier_kernel(float* y) {
  float value = 1;
  if (threadIdx.x % 2 == 0) {
    __syncthreads();  // BUG shuffle_against_barrier
  } else {
    value = __shfl_xor_sync(full_mask, value, 2);  // BUG shuffle_against_barrier
  }
  y[threadIdx.x] = value;
}

__global__ void different_barriers_kernel(float* y) {
  if (threadIdx.x < 32) {
    y[threadIdx.x] = 1;
    __syncthreads();  // BUG different_barriers
  } else {
    __syncthreads();  // BUG different_barriers
    y[threadIdx.x] = 2;
  }
}

__global__ void different_shuffles_kernel(float* y) {
  float value = 1;
  if (threadIdx.x % 32 < 16) {
    value = __shfl_xor_sync(full_mask, value, 1);  // BUG different_shuffles
  } else {
    value = __shfl_xor_sync(full_mask, value, 2);  // BUG different_shuffles
  }
  y[threadIdx.x] = value;
}

__global__ void lane_outside_its_mask_kernel(float* y) {
  y[threadIdx.x] = __shfl_sync(0xfffffffeU, 1.0F, 1);  // BUG lane_outside_its_mask
}

__global__ void shuffle_from_absent_lane_kernel(float* y) {
  if (threadIdx.x % 32 < 16) y[threadIdx.x] = __shfl_sync(0x0000ffffU, 1.0F, 20);  // BUG shuffle_from_absent_lane
}

__global__ void matrix_differs_kernel(const float* x, float* y) {
  using namespace nvcuda;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> fragment;
  const float* mine = x + (threadIdx.x < 16 ? 0 : 256);
  wmma::load_matrix_sync(fragment, mine, 16, wmma::mem_row_major);  // BUG matrix_differs_between_lanes
  wmma::store_matrix_sync(y, fragment, 16, wmma::mem_row_major);
}

}  // namespace

void exit_before_barrier(float* y, cudaStream_t stream) {
  launch(stream, exit_before_barrier_kernel, 1, 128, 0, y);
}
void exit_before_shuffle(float* y, cudaStream_t stream) {
  launch(stream, exit_before_shuffle_kernel, 1, 128, 0, y);
}
void shuffle_against_barrier(float* y, cudaStream_t stream) {
  launch(stream, shuffle_against_barrier_kernel, 1, 128, 0, y);
}
void different_barriers(float* y, cudaStream_t stream) {
  launch(stream, different_barriers_kernel, 1, 128, 0, y);
}
void different_shuffles(float* y, cudaStream_t stream) {
  launch(stream, different_shuffles_kernel, 1, 128, 0, y);
}
void lane_outside_its_mask(float* y, cudaStream_t stream) {
  launch(stream, lane_outside_its_mask_kernel, 1, 128, 0, y);
}
void shuffle_from_absent_lane(float* y, cudaStream_t stream) {
  launch(stream, shuffle_from_absent_lane_kernel, 1, 128, 0, y);
}
void matrix_differs_between_lanes(const float* x, float* y, cudaStream_t stream) {
  launch(stream, matrix_differs_kernel, 1, 32, 0, x, y);
}

}  // namespace planted
