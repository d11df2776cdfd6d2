#include "emulator/planted/launch.h"

namespace planted {
namespace {

__global__ void same_element_kernel(float* y) {
  if (threadIdx.x == 0) y[0] = static_cast<float>(blockIdx.x);  // BUG blocks_write_same_element
}

__global__ void read_of_other_block_kernel(float* y) {
  y[blockIdx.x * 32 + threadIdx.x] = 1;                        // BUG block_reads_what_another_writes
  const float other = y[(1 - blockIdx.x) * 32 + threadIdx.x];  // BUG block_reads_what_another_writes
  y[64 + blockIdx.x * 32 + threadIdx.x] = other;
}

__global__ void write_of_read_kernel(float* y) {
  const float first = y[0];  // BUG block_writes_what_another_read
  __syncthreads();
  y[1 + blockIdx.x] = first;
  if (threadIdx.x == 0 && blockIdx.x == 1) y[0] = 3;  // BUG block_writes_what_another_read
}

__global__ void plain_write_kernel(int* y) {
  if (threadIdx.x == 64) {
    y[0] = 1;  // BUG plain_write_beside_atomic
  } else {
    atomicAdd(y, 1);  // BUG plain_write_beside_atomic
  }
}

__global__ void plain_read_kernel(int* y, int* z) {
  if (threadIdx.x == 64) {
    *z = y[0];  // BUG plain_read_beside_atomic
  } else {
    atomicAdd(y, 1);  // BUG plain_read_beside_atomic
  }
}

__global__ void halves_kernel(unsigned short* y) {
  y[threadIdx.x % 64] = 1;  // BUG halves_of_a_word_written_twice
}

}  // namespace

void blocks_write_same_element(float* y, cudaStream_t stream) {
  launch(stream, same_element_kernel, 4, 32, 0, y);
}
void block_reads_what_another_writes(float* y, cudaStream_t stream) {
  launch(stream, read_of_other_block_kernel, 2, 32, 0, y);
}
void block_writes_what_another_read(float* y, cudaStream_t stream) {
  launch(stream, write_of_read_kernel, 3, 1, 0, y);
}
void plain_write_beside_atomic(int* y, cudaStream_t stream) {
  launch(stream, plain_write_kernel, 1, 128, 0, y);
}
void plain_read_beside_atomic(int* y, int* z, cudaStream_t stream) {
  launch(stream, plain_read_kernel, 1, 128, 0, y, z);
}
void halves_of_a_word_written_twice(unsigned short* y, cudaStream_t stream) {
  launch(stream, halves_kernel, 1, 128, 0, y);
}

}  // namespace planted
