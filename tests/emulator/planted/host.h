#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

// Kernels of the tests of the runtime.
namespace planted {

/// y[i] = x[i] + 1 for i < n; any grid, block and dynamic shared memory. Gives what the launch gave.
cudaError_t add_one(const float* x, float* y, int n, dim3 grid, dim3 block, std::size_t shared_bytes,
                    cudaStream_t stream);
/// In blocks of 128 threads.
cudaError_t add_one(const float* x, float* y, int n, cudaStream_t stream);
/// y[n] = 1, beyond what y may have.
cudaError_t write_beyond_end(float* y, int n, cudaStream_t stream);
/// One block of 32 threads with 128 bytes of static shared memory beside the dynamic one.
cudaError_t launch_with_static_shared(float* y, std::size_t shared_bytes, cudaStream_t stream);
/// cudaFuncSetAttribute for add_one.
cudaError_t allow_shared_bytes(int bytes);

}  // namespace planted
