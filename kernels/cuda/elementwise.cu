#include <algorithm>
#include <type_traits>

#include "kernels/checks/elementwise.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"

namespace artel {
namespace {

using simt::Pack;
using simt::RawPack;

constexpr int block_size = 256;
constexpr int packs_per_thread = 2;  // loads of a thread that are under way together

template <class T, int width>
__global__ void __launch_bounds__(block_size) fill_kernel(T* x, std::int64_t n, T value) {
  Pack<T, width> pack;
  for (int k = 0; k < width; ++k) pack.values[k] = value;
  const std::int64_t stride = std::int64_t{block_size} * width;
  std::int64_t i = blockIdx.x * stride * packs_per_thread + std::int64_t{threadIdx.x} * width;
#pragma unroll
  for (int step = 0; step < packs_per_thread; ++step, i += stride) {
    if (i + width <= n) {
      *reinterpret_cast<Pack<T, width>*>(x + i) = pack;
    } else {
      for (std::int64_t k = i; k < n; ++k) x[k] = value;
    }
  }
}

/// What y becomes: x in its type, or y + x.
template <bool accumulate, class From, class To>
__device__ To moved(From x, To y) {
  if constexpr (accumulate) {
    return simt::from_float<To>(simt::to_float(y) + simt::to_float(x));
  } else if constexpr (std::is_same_v<From, To>) {
    return x;
  } else {
    return simt::from_float<To>(simt::to_float(x));
  }
}

template <bool accumulate, class From, class To, int width>
__device__ Pack<To, width> moved(const Pack<From, width>& x, Pack<To, width> y) {
#pragma unroll
  for (int k = 0; k < width; ++k) y.values[k] = moved<accumulate>(x.values[k], y.values[k]);
  return y;
}

/// y [n] = or += x [n].
template <class From, class To, int width, bool accumulate>
__global__ void __launch_bounds__(block_size) move_kernel(const From* x, To* y, std::int64_t n) {
  const std::int64_t stride = std::int64_t{block_size} * width;
  const std::int64_t first = blockIdx.x * stride * packs_per_thread + std::int64_t{threadIdx.x} * width;
  RawPack<From, width> in[packs_per_thread] = {};
  RawPack<To, width> out[packs_per_thread] = {};
#pragma unroll
  for (int step = 0; step < packs_per_thread; ++step) {
    const std::int64_t i = first + step * stride;
    if (i + width > n) continue;
    in[step] = *reinterpret_cast<const RawPack<From, width>*>(x + i);
    if constexpr (accumulate) out[step] = *reinterpret_cast<const RawPack<To, width>*>(y + i);
  }
#pragma unroll
  for (int step = 0; step < packs_per_thread; ++step) {
    const std::int64_t i = first + step * stride;
    if (i + width <= n) {
      *reinterpret_cast<Pack<To, width>*>(y + i) = moved<accumulate>(in[step].unpack(), out[step].unpack());
    } else {
      for (std::int64_t k = i; k < n; ++k) y[k] = moved<accumulate>(x[k], y[k]);
    }
  }
}

/// y [R, P, C] = or += x [P, R, C]. `lanes` neighbouring threads, a divisor of the block's size, share a row of y;
/// where rows are long, the blocks along the grid's y share it too.
template <class From, class To, int width, bool accumulate>
__global__ void __launch_bounds__(block_size)
    swap_leading_kernel(const From* x, To* y, std::int64_t num_p, std::int64_t num_r, std::int64_t num_columns,
                        int lanes) {
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t row = std::int64_t{blockIdx.x} * (block_size / lanes) + thread / lanes;
  if (row >= num_p * num_r) return;
  const From* const from = x + (row % num_p * num_r + row / num_p) * num_columns;
  To* const to = y + row * num_columns;
  const std::int64_t stride = std::int64_t{gridDim.y} * lanes * width;
  for (std::int64_t i = (std::int64_t{blockIdx.y} * lanes + thread % lanes) * width; i < num_columns; i += stride) {
    Pack<To, width> out = {};
    if constexpr (accumulate) out = *reinterpret_cast<const Pack<To, width>*>(to + i);
    *reinterpret_cast<Pack<To, width>*>(to + i) =
        moved<accumulate>(*reinterpret_cast<const Pack<From, width>*>(from + i), out);
  }
}

/// Elements in a pack of the wider of the two types that takes 16 bytes.
template <class From, class To>
constexpr int move_width = simt::pack_width<std::conditional_t<(sizeof(From) > sizeof(To)), From, To>>;

template <class T>
void run_fill(cudaStream_t stream, const Tensor& x, T value) {
  T* const data = cuda::device_data<T>(x);
  const std::int64_t n = x.numel();
  const auto run = [&](auto kernel, int width) {
    const std::int64_t blocks = simt::ceil_div(n, std::int64_t{block_size} * packs_per_thread * width);
    simt::launch("fill", stream, kernel, simt::num_blocks("fill", blocks), block_size, 0, data, n, value);
  };
  constexpr int width = simt::pack_width<T>;
  simt::packs(data, 0, 0) ? run(fill_kernel<T, width>, width) : run(fill_kernel<T, 1>, 1);
}

template <bool accumulate>
void run_move(const char* op, cudaStream_t stream, const Tensor& x, const Tensor& y) {
  cuda::with_act(x.dtype(), [&](auto from_type) {
    cuda::with_act(y.dtype(), [&](auto to_type) {
      using From = decltype(from_type);
      using To = decltype(to_type);
      const From* const from = cuda::device_data<From>(x);
      To* const to = cuda::device_data<To>(y);
      const std::int64_t n = x.numel();
      const auto run = [&](auto kernel, int width) {
        const std::int64_t blocks = simt::ceil_div(n, std::int64_t{block_size} * packs_per_thread * width);
        simt::launch(op, stream, kernel, simt::num_blocks(op, blocks), block_size, 0, from, to, n);
      };
      constexpr int width = move_width<From, To>;
      if (simt::packs<From, width>(from, 0, 0) && simt::packs<To, width>(to, 0, 0)) {
        run(move_kernel<From, To, width, accumulate>, width);
      } else {
        run(move_kernel<From, To, 1, accumulate>, 1);
      }
    });
  });
}

template <bool accumulate>
void run_swap(cudaStream_t stream, const Tensor& x, const Tensor& y) {
  cuda::with_act(x.dtype(), [&](auto from_type) {
    cuda::with_act(y.dtype(), [&](auto to_type) {
      using From = decltype(from_type);
      using To = decltype(to_type);
      const From* const from = cuda::device_data<From>(x);
      To* const to = cuda::device_data<To>(y);
      const std::int64_t num_columns = x.size(2);
      const auto run = [&](auto kernel, int width) {
        const std::int64_t packs_per_row = num_columns / width;
        int lanes = 1;
        while (lanes < block_size && lanes < packs_per_row) lanes *= 2;
        const std::int64_t blocks = simt::ceil_div<std::int64_t>(x.size(0) * x.size(1), block_size / lanes);
        const std::int64_t splits = simt::ceil_div<std::int64_t>(packs_per_row, lanes * packs_per_thread);
        const dim3 grid(simt::num_blocks("swap_leading", blocks),
                        static_cast<unsigned>(std::min<std::int64_t>(splits, 65535)));
        simt::launch("swap_leading", stream, kernel, grid, block_size, 0, from, to, x.size(0), x.size(1), num_columns,
                     lanes);
      };
      constexpr int width = move_width<From, To>;
      if (simt::packs<From, width>(from, num_columns, 0) && simt::packs<To, width>(to, num_columns, 0)) {
        run(swap_leading_kernel<From, To, width, accumulate>, width);
      } else {
        run(swap_leading_kernel<From, To, 1, accumulate>, 1);
      }
    });
  });
}

}  // namespace

void CudaBackend::fill(Out x, float value) {
  check_fill(x, value);
  if (x.numel() == 0) return;
  switch (x.dtype()) {
    case DType::f32:
      return run_fill(stream_, x, value);
    case DType::bf16:
      return run_fill(stream_, x, __float2bfloat16(value));
    case DType::f64:
      return run_fill(stream_, x, static_cast<double>(value));
    case DType::i32:
      return run_fill(stream_, x, static_cast<std::int32_t>(value));
  }
}

void CudaBackend::copy(In x, Out y) {
  check_elementwise("copy", x, y);
  if (x.numel() == 0) return;
  run_move<false>("copy", stream_, x, y);
}

void CudaBackend::add(In x, InOut y) {
  check_elementwise("add", x, y);
  if (x.numel() == 0) return;
  run_move<true>("add", stream_, x, y);
}

void CudaBackend::swap_leading(In x, Out y, Accumulate accumulate) {
  check_swap_leading(x, y);
  if (x.numel() == 0) return;
  if (accumulate == Accumulate::yes) {
    run_swap<true>(stream_, x, y);
  } else {
    run_swap<false>(stream_, x, y);
  }
}

}  // namespace artel
