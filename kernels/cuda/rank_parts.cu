#include "kernels/cuda/rank_parts.h"

#include <cuda_bf16.h>

#include <type_traits>

#include "kernels/cuda/simt.h"

namespace artel {
namespace {

constexpr int block_size = 256;

// What a sum is held in: integers wrap round, which only unsigned ones may.
inline __device__ float wide(float x) {
  return x;
}
inline __device__ float wide(__nv_bfloat16 x) {
  return __bfloat162float(x);
}
inline __device__ double wide(double x) {
  return x;
}
inline __device__ std::int32_t wide(std::int32_t x) {
  return x;
}

template <class T, class A>
__device__ T narrow(A x) {
  if constexpr (sizeof(T) == 2) {
    return __float2bfloat16(x);
  } else {
    return x;
  }
}

template <PartReduction reduction, class A>
__device__ A combine(A a, A b) {
  if constexpr (reduction == PartReduction::sum) {
    if constexpr (std::is_integral_v<A>) {
      return static_cast<A>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
    } else {
      return a + b;
    }
  } else if constexpr (reduction == PartReduction::max) {
    return b > a || b != b ? b : a;  // a NaN in a stays: it compares with nothing
  } else {
    return b < a || b != b ? b : a;
  }
}

/// The part of rank r.
template <class T>
__device__ const T* part_of(const RankParts& parts, int r) {
  if (r == parts.own) return static_cast<const T*>(parts.own_part);
  const int place = r < parts.own ? r : r - 1;
  return reinterpret_cast<const T*>(static_cast<const char*>(parts.other_parts) + place * parts.stride_bytes);
}

/// out [count]; a thread reduces `width` elements.
template <class T, PartReduction reduction, int width>
__global__ void __launch_bounds__(block_size) reduce_parts_kernel(RankParts parts, T* out) {
  using A = decltype(wide(T()));
  using Elements = simt::Pack<T, width>;
  const std::int64_t first = (std::int64_t{blockIdx.x} * block_size + std::int64_t{threadIdx.x}) * width;
  if (first + width <= parts.count) {
    const auto load = [&](int r) { return *reinterpret_cast<const Elements*>(part_of<T>(parts, r) + first); };
    const Elements start = load(0);
    A totals[width];
#pragma unroll
    for (int k = 0; k < width; ++k) totals[k] = wide(start.values[k]);
    for (int r = 1; r < parts.num_parts; ++r) {
      const Elements x = load(r);
#pragma unroll
      for (int k = 0; k < width; ++k) totals[k] = combine<reduction>(totals[k], wide(x.values[k]));
    }
    Elements sums;
#pragma unroll
    for (int k = 0; k < width; ++k) sums.values[k] = narrow<T>(totals[k]);
    *reinterpret_cast<Elements*>(out + first) = sums;
  } else {
    for (std::int64_t i = first; i < parts.count; ++i) {
      A total = wide(part_of<T>(parts, 0)[i]);
      for (int r = 1; r < parts.num_parts; ++r) total = combine<reduction>(total, wide(part_of<T>(parts, r)[i]));
      out[i] = narrow<T>(total);
    }
  }
}

template <class T, PartReduction reduction, int width>
void launch_width(cudaStream_t stream, const RankParts& parts, T* out) {
  const std::int64_t blocks = simt::ceil_div<std::int64_t>(parts.count, std::int64_t{block_size} * width);
  simt::launch("reduce_rank_parts", stream, reduce_parts_kernel<T, reduction, width>,
               dim3(simt::num_blocks("reduce_rank_parts", blocks)), block_size, 0, parts, out);
}

template <class T>
bool is_aligned(const void* data) {
  return simt::packs(static_cast<const T*>(data), simt::pack_width<T>, simt::pack_width<T>);
}

template <class T, PartReduction reduction>
void reduce(cudaStream_t stream, const RankParts& parts, void* out) {
  T* const result = static_cast<T*>(out);
  // The others are rare.
  if constexpr (reduction == PartReduction::sum) {
    if (is_aligned<T>(parts.own_part) && is_aligned<T>(parts.other_parts) && is_aligned<T>(out) &&
        parts.stride_bytes % 16 == 0) {
      return launch_width<T, reduction, simt::pack_width<T>>(stream, parts, result);
    }
  }
  launch_width<T, reduction, 1>(stream, parts, result);
}

template <class T>
void reduce_any(cudaStream_t stream, const RankParts& parts, void* out) {
  switch (parts.reduction) {
    case PartReduction::sum:
      return reduce<T, PartReduction::sum>(stream, parts, out);
    case PartReduction::max:
      return reduce<T, PartReduction::max>(stream, parts, out);
    case PartReduction::min:
      return reduce<T, PartReduction::min>(stream, parts, out);
  }
}

}  // namespace

namespace cuda {

void reduce_rank_parts(cudaStream_t stream, const RankParts& parts, void* out) {
  switch (parts.dtype) {
    case DType::f32:
      return reduce_any<float>(stream, parts, out);
    case DType::bf16:
      return reduce_any<__nv_bfloat16>(stream, parts, out);
    case DType::f64:
      return reduce_any<double>(stream, parts, out);
    case DType::i32:
      return reduce_any<std::int32_t>(stream, parts, out);
  }
}

}  // namespace cuda
}  // namespace artel
