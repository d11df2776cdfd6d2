#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>

#include "emulator/planted/planted.h"
#include "kernels/cuda/simt.h"

namespace planted {

template <class... E, class... A>
void launch(cudaStream_t stream, void (*kernel)(E...), dim3 grid, dim3 block, std::size_t shared_bytes,
            A&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  (void)cudaLaunchKernelEx(&config, kernel, static_cast<A&&>(arguments)...);
}

}  // namespace planted
