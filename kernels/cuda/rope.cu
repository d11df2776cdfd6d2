// Rotary positions with the RMSNorm of query and key heads (shapes: kernels/backend.h). A group of lanes, a power of
// two of one warp, has one head at a time; a block has all heads of a few tokens. An element i of a head's first half
// turns together with element i + half.

#include <type_traits>

#include "kernels/checks/rope.h"
#include "kernels/cuda/column_sums.cuh"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"

namespace artel {
namespace {

using simt::Pack;

constexpr int num_threads = 128;

struct RopeSizes {
  std::int64_t num_tokens;
  std::int64_t sequence_length;
  std::int64_t tokens_per_block;
  int num_heads;
  int num_kv_heads;
  int half;                    // head_dim / 2
  int group_size;              // lanes that share a head
  const int* document_starts;  // of every token, or null: 0

  int num_groups() const { return num_threads / group_size; }
  /// Of a token, in its document.
  __device__ std::int64_t position(std::int64_t token) const {
    return token % sequence_length - (document_starts == nullptr ? 0 : document_starts[token]);
  }
};

/// Elements i .. and half + i .. of a head.
template <int width>
struct Pair {
  float low[width];
  float high[width];
};

// `width` elements in loads of 16 bytes or, below that, one.
template <int width, class T>
__device__ void load_elements(const T* from, float (&to)[width]) {
  constexpr int part = width < simt::pack_width<T> ? width : simt::pack_width<T>;
#pragma unroll
  for (int i = 0; i < width; i += part) {
    const auto pack = *reinterpret_cast<const Pack<T, part>*>(from + i);
#pragma unroll
    for (int j = 0; j < part; ++j) to[i + j] = simt::to_float(pack.values[j]);
  }
}
template <int width, class T>
__device__ void store_elements(T* to, const float (&from)[width]) {
  constexpr int part = width < simt::pack_width<T> ? width : simt::pack_width<T>;
#pragma unroll
  for (int i = 0; i < width; i += part) {
    Pack<T, part> pack;
#pragma unroll
    for (int j = 0; j < part; ++j) pack.values[j] = simt::from_float<T>(from[i + j]);
    *reinterpret_cast<Pack<T, part>*>(to + i) = pack;
  }
}

template <int width, class T>
__device__ Pair<width> load_pair(const T* head, int half, int i) {
  Pair<width> pair;
  load_elements(head + i, pair.low);
  load_elements(head + half + i, pair.high);
  return pair;
}
template <int width, class T>
__device__ void store_pair(T* head, int half, int i, const Pair<width>& pair) {
  store_elements(head + i, pair.low);
  store_elements(head + half + i, pair.high);
}

/// By the angle whose cosines and sines these are, or back.
template <int width>
__device__ Pair<width> turn(const Pair<width>& x, const Pair<width>& cos_sin, float direction) {
  Pair<width> y;
#pragma unroll
  for (int j = 0; j < width; ++j) {
    const float sine = direction * cos_sin.high[j];
    y.low[j] = x.low[j] * cos_sin.low[j] - x.high[j] * sine;
    y.high[j] = x.high[j] * cos_sin.low[j] + x.low[j] * sine;
  }
  return y;
}
constexpr float forwards = 1.0F;
constexpr float backwards = -1.0F;

/// Sum over the lanes of a group. All lanes of the warp call it.
inline __device__ float group_sum(float x, int group_size) {
  for (int offset = group_size / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(simt::full_mask, x, offset);
  return x;
}

/// A thread's part of the work: its group, its first pair and the distance to the next.
template <int width>
struct Place {
  int group;
  int first;
  int step;
  int num_groups;
  std::int64_t begin;  // tokens of the block
  std::int64_t end;

  __device__ explicit Place(const RopeSizes& sizes)
      : group(static_cast<int>(threadIdx.x) / sizes.group_size),
        first(static_cast<int>(threadIdx.x) % sizes.group_size * width),
        step(sizes.group_size * width),
        num_groups(num_threads / sizes.group_size),
        begin(static_cast<std::int64_t>(blockIdx.x) * sizes.tokens_per_block),
        end(begin + sizes.tokens_per_block < sizes.num_tokens ? begin + sizes.tokens_per_block : sizes.num_tokens) {}
};

/// y = heads of qkv, queries and keys normed (if q_norm) and turned; rstd [T, H + J] = . A block for every
/// tokens_per_block tokens.
template <class T, int width>
__global__ void __launch_bounds__(num_threads)
    rope_kernel(const T* qkv, const float* __restrict__ cos_sin, RopeSizes sizes, const T* __restrict__ q_norm,
                const T* __restrict__ k_norm, float eps, T* y, float* __restrict__ rstd) {
  const Place<width> place(sizes);
  const int half = sizes.half;
  const int num_turned = sizes.num_heads + sizes.num_kv_heads;
  const int num_all = num_turned + sizes.num_kv_heads;
  for (std::int64_t token = place.begin; token < place.end; ++token) {
    const float* const angles = cos_sin + sizes.position(token) * (2 * half);
    for (int first_head = 0; first_head < num_all; first_head += place.num_groups) {
      const int head = first_head + place.group;
      const bool turned = head < num_turned;
      const std::int64_t at = (token * num_all + head) * (2 * half);
      float scale = 1.0F;
      if (q_norm != nullptr) {
        float squares = 0.0F;
        for (int i = place.first; i < half && turned; i += place.step) {
          const auto pair = load_pair<width>(qkv + at, half, i);
#pragma unroll
          for (int j = 0; j < width; ++j) squares += pair.low[j] * pair.low[j] + pair.high[j] * pair.high[j];
        }
        squares = group_sum(squares, sizes.group_size);
        scale = 1.0F / sqrtf(squares / static_cast<float>(2 * half) + eps);
        if (turned && place.first == 0) rstd[token * num_turned + head] = scale;
      }
      if (head >= num_all || (!turned && qkv == y)) continue;
      const T* const w = q_norm == nullptr ? nullptr : head < sizes.num_heads ? q_norm : k_norm;
      for (int i = place.first; i < half; i += place.step) {
        auto pair = load_pair<width>(qkv + at, half, i);
        if (turned) {
          if (w != nullptr) {
            const auto weight = load_pair<width>(w, half, i);
#pragma unroll
            for (int j = 0; j < width; ++j) {
              pair.low[j] = pair.low[j] * scale * weight.low[j];
              pair.high[j] = pair.high[j] * scale * weight.high[j];
            }
          }
          pair = turn(pair, load_pair<width>(angles, half, i), forwards);
        }
        store_pair(y + at, half, i, pair);
      }
    }
  }
}

/// dqkv = dy turned back; value heads are copied. dqkv may be dy.
template <class T, int width>
__global__ void __launch_bounds__(num_threads)
    rope_backward_kernel(const T* dy, const float* __restrict__ cos_sin, RopeSizes sizes, T* dqkv) {
  const Place<width> place(sizes);
  const int half = sizes.half;
  const int num_turned = sizes.num_heads + sizes.num_kv_heads;
  const int num_all = num_turned + sizes.num_kv_heads;
  const int num_written = dy == dqkv ? num_turned : num_all;
  for (std::int64_t token = place.begin; token < place.end; ++token) {
    const float* const angles = cos_sin + sizes.position(token) * (2 * half);
    for (int head = place.group; head < num_written; head += place.num_groups) {
      const std::int64_t at = (token * num_all + head) * (2 * half);
      for (int i = place.first; i < half; i += place.step) {
        auto pair = load_pair<width>(dy + at, half, i);
        if (head < num_turned) pair = turn(pair, load_pair<width>(angles, half, i), backwards);
        store_pair(dqkv + at, half, i, pair);
      }
    }
  }
}

/// The same where heads were normed, which are those of qkv: with g = dy turned back and n = x·rstd,
/// dqkv = rstd·(g·w - n·mean(g·w·n)), and the block's sums of g·n are its row of partials [blocks, 2, h], queries
/// first. Every group sums for itself in shared memory [groups, 2, h], tokens and heads in ascending order.
template <class T, int width>
__global__ void __launch_bounds__(num_threads)
    rope_norm_backward_kernel(const T* dy, const float* __restrict__ cos_sin, RopeSizes sizes,
                              const T* __restrict__ qkv, const T* __restrict__ q_norm, const T* __restrict__ k_norm,
                              const float* __restrict__ rstd, T* dqkv, float* __restrict__ partials) {
  SIMT_DYNAMIC_SHARED(memory);
  const Place<width> place(sizes);
  const int half = sizes.half;
  const int num_turned = sizes.num_heads + sizes.num_kv_heads;
  const int num_all = num_turned + sizes.num_kv_heads;
  const int num_sums = 4 * half;  // of a group
  float* const sums = reinterpret_cast<float*>(memory);
  float* const group_sums = sums + place.group * num_sums;
  for (int i = place.first; i < half; i += place.step) {
    store_pair(group_sums, half, i, Pair<width>{});
    store_pair(group_sums + 2 * half, half, i, Pair<width>{});
  }
  for (std::int64_t token = place.begin; token < place.end; ++token) {
    const float* const angles = cos_sin + sizes.position(token) * (2 * half);
    for (int first_head = 0; first_head < num_all; first_head += place.num_groups) {
      const int head = first_head + place.group;
      const bool turned = head < num_turned;
      const std::int64_t at = (token * num_all + head) * (2 * half);
      const T* const w = head < sizes.num_heads ? q_norm : k_norm;
      float dot = 0.0F;
      for (int i = place.first; i < half && turned; i += place.step) {
        const auto g = turn(load_pair<width>(dy + at, half, i), load_pair<width>(angles, half, i), backwards);
        const auto x = load_pair<width>(qkv + at, half, i);
        const auto weight = load_pair<width>(w, half, i);
#pragma unroll
        for (int j = 0; j < width; ++j) {
          dot += g.low[j] * weight.low[j] * x.low[j] + g.high[j] * weight.high[j] * x.high[j];
        }
      }
      dot = group_sum(dot, sizes.group_size);
      if (head >= num_all) continue;
      const float scale = turned ? rstd[token * num_turned + head] : 0.0F;
      const float pull = dot * scale * scale / static_cast<float>(2 * half);
      float* const dw = group_sums + (head < sizes.num_heads ? 0 : 2 * half);
      for (int i = place.first; i < half; i += place.step) {
        auto g = load_pair<width>(dy + at, half, i);
        if (turned) {
          g = turn(g, load_pair<width>(angles, half, i), backwards);
          const auto x = load_pair<width>(qkv + at, half, i);
          const auto weight = load_pair<width>(w, half, i);
          auto sum = load_pair<width>(dw, half, i);
#pragma unroll
          for (int j = 0; j < width; ++j) {
            sum.low[j] += g.low[j] * (x.low[j] * scale);
            sum.high[j] += g.high[j] * (x.high[j] * scale);
            g.low[j] = scale * (g.low[j] * weight.low[j] - x.low[j] * pull);
            g.high[j] = scale * (g.high[j] * weight.high[j] - x.high[j] * pull);
          }
          store_pair(dw, half, i, sum);
        }
        store_pair(dqkv + at, half, i, g);
      }
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < num_sums; i += num_threads) {
    float sum = 0.0F;
    for (int group = 0; group < place.num_groups; ++group) sum += sums[group * num_sums + i];
    partials[static_cast<std::int64_t>(blockIdx.x) * num_sums + i] = sum;
  }
}

RopeSizes sizes_of(const AttentionShape& shape, int width, std::int64_t tokens_per_block) {
  const std::int64_t half = shape.head_dim / 2;
  int group_size = 1;
  while (group_size < simt::warp_size && group_size * width < half) group_size *= 2;
  return {shape.num_tokens(),
          shape.sequence_length,
          tokens_per_block,
          static_cast<int>(shape.num_heads),
          static_cast<int>(shape.num_kv_heads),
          static_cast<int>(half),
          group_size,
          cuda::device_data<int>(shape.document_starts)};
}

// Calls run(width) with the elements that are read at once.
template <class T, class Run>
void with_width(bool packed, const Run& run) {
  if (packed) {
    run(std::integral_constant<int, simt::pack_width<T>>());
  } else {
    run(std::integral_constant<int, 1>());
  }
}

}  // namespace

void CudaBackend::rope(In qkv, In cos_sin, const AttentionShape& shape, In q_norm, In k_norm, float eps, Out y,
                       Out rstd) {
  const char* const op = "rope";
  const DType act = check_rope(qkv, cos_sin, shape, q_norm, k_norm, y, rstd);
  if (shape.num_tokens() == 0) return;
  constexpr std::int64_t tokens_per_block = 4;
  cuda::with_act(act, [&](auto type) {
    using T = decltype(type);
    const std::int64_t half = shape.head_dim / 2;
    const T* const from = cuda::device_data<T>(qkv);
    const T* const q = cuda::device_data<T>(q_norm);
    const T* const k = cuda::device_data<T>(k_norm);
    const float* const angles = cuda::device_data<float>(cos_sin);
    T* const to = cuda::device_data<T>(y);
    float* const rstd_data = q_norm.defined() ? cuda::device_data<float>(rstd) : nullptr;
    const bool packed = simt::packs(from, half, half) && simt::packs(q, half, half) && simt::packs(k, half, half) &&
                        simt::packs(angles, half, half) && simt::packs(to, half, half);
    with_width<T>(packed, [&](auto width) {
      const RopeSizes sizes = sizes_of(shape, width, tokens_per_block);
      simt::launch(op, stream_, rope_kernel<T, width>,
                   simt::num_blocks(op, simt::ceil_div(sizes.num_tokens, tokens_per_block)), num_threads, 0, from,
                   angles, sizes, q, k, eps, to, rstd_data);
    });
  });
}

void CudaBackend::rope_backward(In dy, In cos_sin, const AttentionShape& shape, In qkv, In q_norm, In k_norm, In rstd,
                                Out dqkv, InOut dq_norm, InOut dk_norm) {
  const char* const op = "rope_backward";
  const DType act = check_rope_backward(dy, cos_sin, shape, qkv, q_norm, k_norm, rstd, dqkv, dq_norm, dk_norm);
  if (shape.num_tokens() == 0) return;
  const bool has_norms = q_norm.defined();
  const std::int64_t h = shape.head_dim;
  const std::int64_t tokens_per_block = has_norms ? 16 : 4;
  const std::int64_t num_blocks = simt::ceil_div(shape.num_tokens(), tokens_per_block);
  float* const partials = has_norms ? scratch_of<float>(0, num_blocks * 2 * h) : nullptr;
  cuda::with_act(act, [&](auto type) {
    using T = decltype(type);
    const T* const from = cuda::device_data<T>(dy);
    const float* const angles = cuda::device_data<float>(cos_sin);
    const T* const x = has_norms ? cuda::device_data<T>(qkv) : nullptr;
    const T* const q = cuda::device_data<T>(q_norm);
    const T* const k = cuda::device_data<T>(k_norm);
    T* const to = cuda::device_data<T>(dqkv);
    const bool packed = simt::packs(from, h / 2, h / 2) && simt::packs(angles, h / 2, h / 2) &&
                        simt::packs(x, h / 2, h / 2) && simt::packs(q, h / 2, h / 2) && simt::packs(k, h / 2, h / 2) &&
                        simt::packs(to, h / 2, h / 2);
    with_width<T>(packed, [&](auto width) {
      const RopeSizes sizes = sizes_of(shape, width, tokens_per_block);
      const unsigned grid = simt::num_blocks(op, num_blocks);
      if (has_norms) {
        const auto num_sums = static_cast<std::size_t>(sizes.num_groups() * 2 * h);
        simt::launch(op, stream_, rope_norm_backward_kernel<T, width>, grid, num_threads, num_sums * sizeof(float),
                     from, angles, sizes, x, q, k, cuda::device_data<float>(rstd), to, partials);
      } else {
        simt::launch(op, stream_, rope_backward_kernel<T, width>, grid, num_threads, 0, from, angles, sizes, to);
      }
    });
  });
  if (!has_norms) return;
  cuda::add_column_sums(op, stream_, partials, num_blocks, h, 2 * h, cuda::device_data<float>(dq_norm));
  cuda::add_column_sums(op, stream_, partials + h, num_blocks, h, 2 * h, cuda::device_data<float>(dk_norm));
}

}  // namespace artel
