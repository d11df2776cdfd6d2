#pragma once

// Included before everything else (-include) when the host compiler builds a .cu file: the vocabulary of CUDA kernels
// on top of the emulator. The API of the host comes from the real headers.
#if defined(__CUDACC__)
#error "emulator.h stands in for nvcc; compile with the host compiler"
#endif

// NVIDIA's template of this name erases the types of arguments; ours, below, keeps them.
#define cudaLaunchKernelEx cudaLaunchKernelEx_of_the_toolkit
#include <cuda_runtime.h>
#undef cudaLaunchKernelEx
#include <device_launch_parameters.h>  // declares threadIdx …; block.cpp defines them
#include <math.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "emulator/include/device_runtime.h"

#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __maxnreg__
#define __maxnreg__(...)

// Reports name lines of kernels' sources: what the prelude adds must vanish from the chain of calls.
#define EMULATOR_INLINE inline __attribute__((always_inline))
// The line of the call, as a hidden last argument.
#define EMULATOR_AT ::emulator::Line at = {__builtin_FILE(), __builtin_LINE()}

template <class... E, class... A>
inline cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(E...), A&&... arguments) {
  struct Pack {
    void (*kernel)(E...);
    std::tuple<E...> arguments;
  };
  auto pack = std::make_shared<Pack>(Pack{kernel, std::tuple<E...>(std::forward<A>(arguments)...)});
  const auto call = [](void* p) {
    auto* of_thread = static_cast<Pack*>(p);
    std::apply(of_thread->kernel, of_thread->arguments);
  };
  return emulator::launch_kernel(*config, reinterpret_cast<const void*>(kernel), call, std::move(pack), sizeof(Pack));
}

#include "emulator/include/collectives.h"
#include "emulator/include/intrinsics.h"
