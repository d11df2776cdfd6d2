#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace artel::cuda {

/// Throws Error "[where] <call>: <CUDA's name and text>; …" unless status is cudaSuccess. `call` is the function that
/// returned it.
void check(const char* where, const char* call, cudaError_t status);

/// Throws unless 0 <= blocks <= 2^31 - 1, what a grid's x can hold.
void check_grid(const char* op, std::int64_t blocks);

}  // namespace artel::cuda
