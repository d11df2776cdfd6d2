#pragma once

#include <cuda_runtime_api.h>

// What the files that define functions of the CUDA runtime share.
namespace emulator {

/// Keeps an error for cudaGetLastError and gives it back.
cudaError_t result(cudaError_t status);

/// What cudaSetDevice has chosen.
int current_device();

}  // namespace emulator
