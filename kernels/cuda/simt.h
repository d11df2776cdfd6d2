#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/cuda/cuda_error.h"

// The one header that knows that kernels have two compilers: nvcc for GPUs, and the host compiler for the emulator
// (tests/emulator), under which every kernel runs in tests. docs/gpu.md has the rules that kernels keep to run on both.

#if defined(__CUDACC__)
/// SIMT_SHARED(float, sums, [32]); at the top of a kernel: an array in the block's shared memory.
#define SIMT_SHARED(T, name, dims) __shared__ T name dims
/// SIMT_DYNAMIC_SHARED(memory); the block's dynamic shared memory, as bytes aligned to 128.
#define SIMT_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#else
#define SIMT_SHARED(T, name, dims)  \
  typedef T name##_type dims;       \
  static const char name##_tag = 0; \
  name##_type& name =               \
      *static_cast<name##_type*>(emulator::shared_static(&name##_tag, sizeof(name##_type), alignof(T), #name))
#define SIMT_DYNAMIC_SHARED(name) unsigned char* const name = static_cast<unsigned char*>(emulator::shared_dynamic())
#endif

namespace artel::simt {

constexpr unsigned full_mask = 0xffffffffU;
constexpr int warp_size = 32;

/// ceil(a / b) for a >= 0, b > 0.
template <class T>
constexpr __host__ __device__ T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

/// Runs kernel<<<grid, block, shared_bytes, stream>>>(arguments...), the one way in which kernels are started. A grid
/// of no blocks does nothing. Errors: whatever the launch reports, with `op` as where.
template <class... E, class... A>
void launch(const char* op, cudaStream_t stream, void (*kernel)(E...), dim3 grid, unsigned block_size,
            std::size_t shared_bytes, A&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  // 48 KiB is for the dynamic memory and the kernel's SIMT_SHARED arrays together; none of them has 8 KiB beside it.
  constexpr std::size_t bytes_without_asking = 40 * 1024;
  if (shared_bytes > bytes_without_asking) {
    cuda::check(op, "cudaFuncSetAttribute",
                cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     static_cast<int>(shared_bytes)));
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(block_size);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  cuda::check(op, "cudaLaunchKernelEx", cudaLaunchKernelEx(&config, kernel, static_cast<A&&>(arguments)...));
}

/// A number of blocks for the grid's x. Errors: more than a grid can have.
inline unsigned num_blocks(const char* op, std::int64_t blocks) {
  cuda::check_grid(op, blocks);
  return static_cast<unsigned>(blocks);
}

inline __device__ float to_float(float x) {
  return x;
}
inline __device__ float to_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}
/// x as the activation type stores it, rounded to nearest even.
template <class T>
__device__ T from_float(float x) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return x;
  } else {
    return __float2bfloat16(x);
  }
}

/// `width` elements that are loaded and stored at once: the address must be a multiple of their size together.
template <class T, int width>
struct alignas(sizeof(T) * width) Pack {
  T values[width];
};
/// A pack as it lies in memory. What is loaded well before it is used is held like this: two elements of bf16 to a
/// register, where compilers give each element of a Pack one of its own.
template <class T, int width>
struct alignas(sizeof(T) * width) RawPack {
  using Word = std::conditional_t<sizeof(T) * width % sizeof(std::uint32_t) == 0, std::uint32_t, std::uint16_t>;
  Word words[sizeof(T) * width / sizeof(Word)];

  __device__ Pack<T, width> unpack() const {
    Pack<T, width> pack;
    memcpy(&pack, words, sizeof words);
    return pack;
  }
};
/// Elements in 16 bytes.
template <class T>
constexpr int pack_width = static_cast<int>(16 / sizeof(T));

/// Whether rows that begin at `data` and lie `stride` elements apart can be read in packs of `width` elements (16 bytes
/// unless said), all of a row's `size` elements.
template <class T, int width = pack_width<T>>
bool packs(const T* data, std::int64_t size, std::int64_t stride) {
  return reinterpret_cast<std::uintptr_t>(data) % sizeof(Pack<T, width>) == 0 && size % width == 0 &&
         stride % width == 0;
}

/// Sum over the lanes of a warp, the same bits in every lane. All 32 lanes call it.
inline __device__ float warp_sum(float x) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(full_mask, x, offset);
  return x;
}
inline __device__ double warp_sum(double x) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(full_mask, x, offset);
  return x;
}
inline __device__ float warp_max(float x) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(full_mask, x, offset));
  return x;
}

/// Sum over the threads of a block in a fixed order, in every thread. `partials`: 32 elements of shared memory, free
/// to use again when it returns. All threads of the block call it; blockDim.x is a multiple of 32.
template <class T>
__device__ T block_sum(T x, T* partials) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const int num_warps = static_cast<int>(blockDim.x) / warp_size;
  x = warp_sum(x);
  if (lane == 0) partials[warp] = x;
  __syncthreads();
  x = warp_sum(lane < num_warps ? partials[lane] : T(0));
  __syncthreads();
  return x;
}
/// The same for the maximum.
inline __device__ float block_max(float x, float* partials) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const int num_warps = static_cast<int>(blockDim.x) / warp_size;
  x = warp_max(x);
  if (lane == 0) partials[warp] = x;
  __syncthreads();
  x = warp_max(lane < num_warps ? partials[lane] : -INFINITY);
  __syncthreads();
  return x;
}

}  // namespace artel::simt
