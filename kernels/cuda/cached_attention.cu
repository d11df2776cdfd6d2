// Attention of new tokens to keys and values that are kept (shapes: kernels/backend.h), for generation. A block has one
// query of one head. Its warps share out the keys: each has a running maximum, sum and weighted sum of values, whose
// elements its lanes hold; the warps' results are joined in shared memory in their order.

#include <cmath>

#include "kernels/checks/cached_attention.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"
#include "util/error.h"

namespace artel {
namespace {

using simt::warp_size;

constexpr int num_warps = 4;
constexpr int num_threads = num_warps * warp_size;
constexpr int max_head_dim = 256;
constexpr int max_per_lane = max_head_dim / warp_size;
constexpr unsigned copy_block = 256;

struct CacheSizes {
  std::int64_t past;
  int num_heads;
  int num_kv_heads;
  int head_dim;
  float scale;

  __host__ __device__ int num_qkv_heads() const { return num_heads + 2 * num_kv_heads; }
};

/// Rows past .. of cache [C, 2J, h] = the key and value heads of qkv [Q, H + 2J, h].
template <class T>
__global__ void __launch_bounds__(copy_block)
    store_keys_values_kernel(const T* __restrict__ qkv, CacheSizes sizes, std::int64_t num_elements,
                             T* __restrict__ cache) {
  const std::int64_t index = std::int64_t{blockIdx.x} * copy_block + threadIdx.x;
  if (index >= num_elements) return;
  const std::int64_t row = 2 * sizes.num_kv_heads * sizes.head_dim;
  const std::int64_t token = index / row;
  const std::int64_t from = (token * sizes.num_qkv_heads() + sizes.num_heads) * sizes.head_dim + index % row;
  cache[sizes.past * row + index] = qkv[from];
}

/// y [Q, H, h] =. A block for each query of each head.
template <class T>
__global__ void __launch_bounds__(num_threads)
    cached_attention_kernel(const T* __restrict__ qkv, const T* __restrict__ cache, CacheSizes sizes,
                            T* __restrict__ y) {
  SIMT_SHARED(float, sums, [num_warps][max_head_dim]);
  SIMT_SHARED(float, largest_of, [num_warps]);
  SIMT_SHARED(float, sum_of, [num_warps]);
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const int h = sizes.head_dim;
  const std::int64_t token = blockIdx.x / static_cast<unsigned>(sizes.num_heads);
  const int head = static_cast<int>(blockIdx.x % static_cast<unsigned>(sizes.num_heads));
  const std::int64_t num_keys = sizes.past + token + 1;
  const std::int64_t stride = 2 * static_cast<std::int64_t>(sizes.num_kv_heads) * h;
  const T* const query = qkv + (token * sizes.num_qkv_heads() + head) * h;
  const T* const keys = cache + head / (sizes.num_heads / sizes.num_kv_heads) * h;
  const T* const values = keys + sizes.num_kv_heads * h;

  float q[max_per_lane];
  float out[max_per_lane];
#pragma unroll
  for (int j = 0; j < max_per_lane; ++j) {
    const int i = j * warp_size + lane;
    q[j] = i < h ? simt::to_float(query[i]) * sizes.scale : 0.0F;
    out[j] = 0.0F;
  }
  float largest = -INFINITY;
  float sum = 0.0F;
  for (std::int64_t key = warp; key < num_keys; key += num_warps) {
    float score = 0.0F;
#pragma unroll
    for (int j = 0; j < max_per_lane; ++j) {
      const int i = j * warp_size + lane;
      if (i < h) score += q[j] * simt::to_float(keys[key * stride + i]);
    }
    score = simt::warp_sum(score);
    const float now = fmaxf(largest, score);
    const float shrink = expf(largest - now);  // 0 for the first key
    const float p = expf(score - now);
    sum = sum * shrink + p;
#pragma unroll
    for (int j = 0; j < max_per_lane; ++j) {
      const int i = j * warp_size + lane;
      if (i < h) out[j] = out[j] * shrink + p * simt::to_float(values[key * stride + i]);
    }
    largest = now;
  }
#pragma unroll
  for (int j = 0; j < max_per_lane; ++j) {
    const int i = j * warp_size + lane;
    if (i < h) sums[warp][i] = out[j];
  }
  if (lane == 0) {
    largest_of[warp] = largest;
    sum_of[warp] = sum;
  }
  __syncthreads();

  // Warp 0 has the first key, so the largest is a number; a warp without keys counts nothing.
  float top = largest_of[0];
  for (int w = 1; w < num_warps; ++w) top = fmaxf(top, largest_of[w]);
  float total = 0.0F;
  for (int w = 0; w < num_warps; ++w) total += sum_of[w] * expf(largest_of[w] - top);
  for (int i = static_cast<int>(threadIdx.x); i < h; i += num_threads) {
    float value = 0.0F;
    for (int w = 0; w < num_warps; ++w) value += sums[w][i] * expf(largest_of[w] - top);
    y[(token * sizes.num_heads + head) * h + i] = simt::from_float<T>(value / total);
  }
}

CacheSizes sizes_of(const AttentionShape& shape, std::int64_t past) {
  return {past, static_cast<int>(shape.num_heads), static_cast<int>(shape.num_kv_heads),
          static_cast<int>(shape.head_dim), static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)))};
}

}  // namespace

void CudaBackend::store_keys_values(In qkv, const AttentionShape& shape, std::int64_t past, InOut cache) {
  const char* const op = "store_keys_values";
  const DType act = check_store_keys_values(qkv, shape, past, cache);
  const std::int64_t num_elements = shape.num_tokens() * 2 * shape.num_kv_heads * shape.head_dim;
  cuda::with_act(act, [&](auto type) {
    using T = decltype(type);
    simt::launch(op, stream_, store_keys_values_kernel<T>,
                 simt::num_blocks(op, simt::ceil_div<std::int64_t>(num_elements, copy_block)), copy_block, 0,
                 cuda::device_data<T>(qkv), sizes_of(shape, past), num_elements, cuda::device_data<T>(cache));
  });
}

void CudaBackend::cached_attention(In qkv, In cache, const AttentionShape& shape, std::int64_t past, Out y) {
  const char* const op = "cached_attention";
  const DType act = check_cached_attention(qkv, cache, shape, past, y);
  if (shape.head_dim > max_head_dim) {
    fail(op,
         "required head_dim of at most " + std::to_string(max_head_dim) + ", found " + std::to_string(shape.head_dim));
  }
  cuda::with_act(act, [&](auto type) {
    using T = decltype(type);
    simt::launch(op, stream_, cached_attention_kernel<T>, simt::num_blocks(op, shape.num_tokens() * shape.num_heads),
                 num_threads, 0, cuda::device_data<T>(qkv), cuda::device_data<T>(cache), sizes_of(shape, past),
                 cuda::device_data<T>(y));
  });
}

}  // namespace artel
