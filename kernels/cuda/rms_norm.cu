// RMSNorm, forward and backward (shapes: kernels/backend.h). A block has a row at a time and reads it twice, the second
// time from its first-level cache.

#include <algorithm>

#include "kernels/checks/rms_norm.h"
#include "kernels/cuda/column_sums.cuh"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"

namespace artel {
namespace {

using simt::Pack;

constexpr int max_threads = 256;

// One pack of a row for each thread, if it can be had.
unsigned num_threads_for(std::int64_t row_size, int width) {
  const std::int64_t packs = simt::ceil_div<std::int64_t>(row_size, width);
  const std::int64_t warps = simt::ceil_div<std::int64_t>(packs, simt::warp_size);
  return static_cast<unsigned>(std::clamp<std::int64_t>(warps * simt::warp_size, simt::warp_size, max_threads));
}

template <class T, int width>
__device__ Pack<T, width> load(const T* from) {
  return *reinterpret_cast<const Pack<T, width>*>(from);
}
template <class T, int width>
__device__ void store(T* to, const Pack<T, width>& pack) {
  *reinterpret_cast<Pack<T, width>*>(to) = pack;
}

/// x + delta as stored, or x without delta.
template <class T, int width>
__device__ Pack<T, width> load_sum(const T* x, const T* delta, std::int64_t i) {
  auto pack = load<T, width>(x + i);
  if (delta == nullptr) return pack;
  const auto other = load<T, width>(delta + i);
#pragma unroll
  for (int j = 0; j < width; ++j) {
    pack.values[j] = simt::from_float<T>(simt::to_float(pack.values[j]) + simt::to_float(other.values[j]));
  }
  return pack;
}

/// sum = x + delta (if there is delta), y = sum·rstd·w, rstd = . A block for each of the rows [T, d].
template <class T, int width>
__global__ void __launch_bounds__(max_threads)
    rms_norm_kernel(const T* __restrict__ x, const T* __restrict__ delta, const T* __restrict__ w, float eps,
                    std::int64_t d, T* __restrict__ sum, T* __restrict__ y, float* __restrict__ rstd) {
  SIMT_SHARED(float, partials, [simt::warp_size]);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * d;
  const std::int64_t first = static_cast<std::int64_t>(threadIdx.x) * width;
  const std::int64_t step = static_cast<std::int64_t>(blockDim.x) * width;
  float squares = 0.0F;
  for (std::int64_t i = first; i < d; i += step) {
    const auto pack = load_sum<T, width>(x, delta, row + i);
    if (delta != nullptr) store(sum + row + i, pack);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const float value = simt::to_float(pack.values[j]);
      squares = fmaf(value, value, squares);
    }
  }
  squares = simt::block_sum(squares, partials);
  const float scale = 1.0F / sqrtf(squares / static_cast<float>(d) + eps);
  if (threadIdx.x == 0) rstd[blockIdx.x] = scale;
  for (std::int64_t i = first; i < d; i += step) {
    auto pack = load_sum<T, width>(x, delta, row + i);
    const auto weight = load<T, width>(w + i);
#pragma unroll
    for (int j = 0; j < width; ++j) {
      pack.values[j] = simt::from_float<T>(simt::to_float(pack.values[j]) * scale * simt::to_float(weight.values[j]));
    }
    store(y + row + i, pack);
  }
}

/// With n = x·rstd and g = dy·w: dx = or += rstd·(g - n·mean(g·n)); partial_dw [blocks, d] = sums of dy·n over the
/// block's rows, in ascending order. Each thread has the same columns of every row, so nobody else needs its sums; they
/// are in shared memory unless rows are too long for it.
template <class T, int width, bool sums_in_shared>
__global__ void __launch_bounds__(max_threads)
    rms_norm_backward_kernel(const T* __restrict__ x, const T* __restrict__ w, const float* __restrict__ rstd,
                             const T* __restrict__ dy, T* __restrict__ dx, bool accumulate, std::int64_t num_rows,
                             std::int64_t rows_per_block, std::int64_t d, float* __restrict__ partial_dw) {
  SIMT_SHARED(float, partials, [simt::warp_size]);
  SIMT_DYNAMIC_SHARED(memory);
  float* const block_dw = partial_dw + static_cast<std::int64_t>(blockIdx.x) * d;
  float* const sums = sums_in_shared ? reinterpret_cast<float*>(memory) : block_dw;
  const std::int64_t first = static_cast<std::int64_t>(threadIdx.x) * width;
  const std::int64_t step = static_cast<std::int64_t>(blockDim.x) * width;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * rows_per_block;
  const std::int64_t end = begin + rows_per_block < num_rows ? begin + rows_per_block : num_rows;
  for (std::int64_t i = first; i < d; i += step) store(sums + i, Pack<float, width>{});
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t at = row * d;
    float dot = 0.0F;
    for (std::int64_t i = first; i < d; i += step) {
      const auto vx = load<T, width>(x + at + i);
      const auto vw = load<T, width>(w + i);
      const auto vdy = load<T, width>(dy + at + i);
#pragma unroll
      for (int j = 0; j < width; ++j) {
        const float g = simt::to_float(vdy.values[j]) * simt::to_float(vw.values[j]);
        dot = fmaf(g, simt::to_float(vx.values[j]), dot);
      }
    }
    dot = simt::block_sum(dot, partials);
    const float scale = rstd[row];
    const float pull = dot * scale * scale / static_cast<float>(d);  // mean(g·n)·rstd, against x
    for (std::int64_t i = first; i < d; i += step) {
      const auto vx = load<T, width>(x + at + i);
      const auto vw = load<T, width>(w + i);
      const auto vdy = load<T, width>(dy + at + i);
      auto sum = load<float, width>(sums + i);
      Pack<T, width> out;
      if (accumulate) out = load<T, width>(dx + at + i);
#pragma unroll
      for (int j = 0; j < width; ++j) {
        const float value = simt::to_float(vx.values[j]);
        const float gradient = simt::to_float(vdy.values[j]);
        float result = scale * (gradient * simt::to_float(vw.values[j]) - value * pull);
        if (accumulate) result += simt::to_float(out.values[j]);
        out.values[j] = simt::from_float<T>(result);
        sum.values[j] += gradient * (value * scale);
      }
      store(dx + at + i, out);
      store(sums + i, sum);
    }
  }
  if constexpr (sums_in_shared) {
    for (std::int64_t i = first; i < d; i += step) store(block_dw + i, load<float, width>(sums + i));
  }
}

// Few enough blocks that the sums of all are small beside x, and enough to fill a GPU.
std::int64_t rows_per_block_for(std::int64_t num_rows) {
  constexpr std::int64_t enough_blocks = 1024;
  constexpr std::int64_t least_rows = 4;
  return std::max(least_rows, simt::ceil_div(num_rows, enough_blocks));
}

}  // namespace

void CudaBackend::rms_norm(In x, In delta, In w, float eps, Out sum, Out y, Out rstd) {
  const char* const op = "rms_norm";
  const DType act = check_rms_norm(x, delta, w, sum, y, rstd);
  if (x.size(0) == 0) return;
  cuda::with_act(act, [&](auto type) {
    using T = decltype(type);
    const std::int64_t d = x.size(1);
    const auto* px = cuda::device_data<T>(x);
    const auto* pdelta = cuda::device_data<T>(delta);
    const auto* pw = cuda::device_data<T>(w);
    auto* psum = cuda::device_data<T>(sum);
    auto* py = cuda::device_data<T>(y);
    const auto run = [&](auto width) {
      simt::launch(op, stream_, rms_norm_kernel<T, width>, simt::num_blocks(op, x.size(0)), num_threads_for(d, width),
                   0, px, pdelta, pw, eps, d, psum, py, cuda::device_data<float>(rstd));
    };
    if (simt::packs(px, d, d) && simt::packs(pdelta, d, d) && simt::packs(pw, d, d) && simt::packs(psum, d, d) &&
        simt::packs(py, d, d)) {
      run(std::integral_constant<int, simt::pack_width<T>>());
    } else {
      run(std::integral_constant<int, 1>());
    }
  });
}

void CudaBackend::rms_norm_backward(In x, In w, In rstd, In dy, Out dx, Accumulate accumulate_dx, InOut dw) {
  const char* const op = "rms_norm_backward";
  const DType act = check_rms_norm_backward(x, w, rstd, dy, dx, dw);
  const std::int64_t num_rows = x.size(0);
  const std::int64_t d = x.size(1);
  if (num_rows == 0) return;
  const std::int64_t rows_per_block = rows_per_block_for(num_rows);
  const std::int64_t num_blocks = simt::ceil_div(num_rows, rows_per_block);
  float* const partial_dw = scratch_of<float>(0, num_blocks * d);
  cuda::with_act(act, [&](auto type) {
    using T = decltype(type);
    const auto* px = cuda::device_data<T>(x);
    const auto* pw = cuda::device_data<T>(w);
    const auto* pdy = cuda::device_data<T>(dy);
    auto* pdx = cuda::device_data<T>(dx);
    const auto run = [&](auto width, auto sums_in_shared) {
      const std::size_t shared_bytes = sums_in_shared ? static_cast<std::size_t>(d) * sizeof(float) : 0;
      simt::launch(op, stream_, rms_norm_backward_kernel<T, width, sums_in_shared>, simt::num_blocks(op, num_blocks),
                   num_threads_for(d, width), shared_bytes, px, pw, cuda::device_data<float>(rstd), pdy, pdx,
                   accumulate_dx == Accumulate::yes, num_rows, rows_per_block, d, partial_dw);
    };
    constexpr std::int64_t most_in_shared = 96 * 1024 / sizeof(float);
    const bool packed = simt::packs(px, d, d) && simt::packs(pw, d, d) && simt::packs(pdy, d, d) &&
                        simt::packs(pdx, d, d) && d <= most_in_shared;
    if (packed) {
      run(std::integral_constant<int, simt::pack_width<T>>(), std::true_type());
    } else if (d <= most_in_shared) {
      run(std::integral_constant<int, 1>(), std::true_type());
    } else {
      run(std::integral_constant<int, 1>(), std::false_type());
    }
  });
  cuda::add_column_sums(op, stream_, partial_dw, num_blocks, d, d, cuda::device_data<float>(dw));
}

}  // namespace artel
