#include "emulator/planted/host.h"

#include <cuda_runtime.h>

#include "kernels/cuda/simt.h"

namespace planted {
namespace {

__global__ void add_one_kernel(const float* x, float* y, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) y[i] = x[i] + 1;
}

__global__ void write_beyond_end_kernel(float* y, int n) {
  if (threadIdx.x == 0) y[n] = 1;
}

__global__ void static_shared_kernel(float* y) {
  SIMT_SHARED(float, values, [32]);
  values[threadIdx.x] = 1;
  y[threadIdx.x] = values[threadIdx.x];
}

}  // namespace

cudaError_t add_one(const float* x, float* y, int n, dim3 grid, dim3 block, std::size_t shared_bytes,
                    cudaStream_t stream) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, add_one_kernel, x, y, n);
}

cudaError_t add_one(const float* x, float* y, int n, cudaStream_t stream) {
  return add_one(x, y, n, dim3(static_cast<unsigned>(n + 127) / 128), dim3(128), 0, stream);
}

cudaError_t write_beyond_end(float* y, int n, cudaStream_t stream) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(32);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, write_beyond_end_kernel, y, n);
}

cudaError_t launch_with_static_shared(float* y, std::size_t shared_bytes, cudaStream_t stream) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(32);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, static_shared_kernel, y);
}

cudaError_t allow_shared_bytes(int bytes) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(add_one_kernel),
                              cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

}  // namespace planted
