#include <algorithm>
#include <cstdint>

#include "kernels/checks/routing.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"
#include "kernels/cuda/top_k.cuh"

namespace artel {
namespace {

using cuda::lane_of_warp;

/// A warp works on a token, or on a row.
constexpr int norm_block = 256;

__device__ std::int64_t warp_of_grid() {
  const int warps = static_cast<int>(blockDim.x) / simt::warp_size;
  return static_cast<std::int64_t>(blockIdx.x) * warps + static_cast<int>(threadIdx.x) / simt::warp_size;
}

__global__ void __launch_bounds__(cuda::largest_block_of_warps)
    route_top_k_kernel(const float* scores, const float* bias, std::int64_t num_tokens, int num_experts,
                       const TopKOptions options, const cuda::TopKResult result, int warp_bytes) {
  SIMT_DYNAMIC_SHARED(shared_memory);
  const std::int64_t token = warp_of_grid();
  if (token >= num_tokens) return;
  unsigned char* const memory = shared_memory + static_cast<int>(threadIdx.x) / simt::warp_size * warp_bytes;
  const cuda::ChoiceMemory choice(memory, num_experts, static_cast<int>(options.top_k));
  for (int i = lane_of_warp(); i < num_experts; i += simt::warp_size)
    choice.scores[i] = scores[token * num_experts + i];
  __syncwarp();
  cuda::choose_top_k(bias, num_experts, options, choice, result, token);
}

__global__ void __launch_bounds__(cuda::largest_block_of_warps)
    route_top_k_backward_kernel(const cuda::TopKGradient gradient, std::int64_t num_tokens, int num_experts,
                                const TopKOptions options, float* dscores, int warp_bytes) {
  SIMT_DYNAMIC_SHARED(shared_memory);
  const std::int64_t token = warp_of_grid();
  if (token >= num_tokens) return;
  auto* const of_token =
      reinterpret_cast<float*>(shared_memory + static_cast<int>(threadIdx.x) / simt::warp_size * warp_bytes);
  const float* const dweights = gradient.dweights != nullptr ? gradient.dweights + token * options.top_k : nullptr;
  cuda::scores_gradient(
      gradient, dweights != nullptr, [=](int slot) { return dweights[slot]; }, num_experts, options, of_token, token);
  for (int i = lane_of_warp(); i < num_experts; i += simt::warp_size) dscores[token * num_experts + i] = of_token[i];
}

/// The elements of a row in packs of 16 bytes, whatever its place in memory and its size: those before the first whole
/// pack and behind the last, fewer than 32 together, are one for each lane.
template <class T>
struct RowPacks {
  static constexpr int width = simt::pack_width<T>;
  std::int64_t size;
  std::int64_t begin;  ///< of the packs
  std::int64_t end;

  __device__ RowPacks(const T* row, std::int64_t row_size) : size(row_size) {
    const auto behind = static_cast<int>(reinterpret_cast<std::uintptr_t>(row) % 16 / sizeof(T));
    begin = min(size, static_cast<std::int64_t>(behind == 0 ? 0 : width - behind));
    end = begin + (size - begin) / width * width;
  }
  /// The element of this lane outside the packs, or -1.
  __device__ std::int64_t end_element() const {
    const std::int64_t i = lane_of_warp() < begin ? lane_of_warp() : end + lane_of_warp() - begin;
    return i < size ? i : -1;
  }
  /// body(offset) for each pack of this lane.
  template <class Body>
  __device__ void for_packs(const Body& body) const {
#pragma unroll 4
    for (std::int64_t i = begin + lane_of_warp() * width; i < end; i += simt::warp_size * width) body(i);
  }
};

template <class T>
__global__ void __launch_bounds__(norm_block)
    row_norms_kernel(const T* __restrict__ x, std::int64_t num_rows, std::int64_t size, float* norms) {
  const std::int64_t row = warp_of_grid();
  if (row >= num_rows) return;
  const T* const from = x + row * size;
  const RowPacks<T> packs(from, size);
  float sum = 0.0F;
  packs.for_packs([&](std::int64_t i) {
    const auto pack = *reinterpret_cast<const simt::Pack<T, RowPacks<T>::width>*>(from + i);
#pragma unroll
    for (int j = 0; j < RowPacks<T>::width; ++j) {
      const float value = simt::to_float(pack.values[j]);
      sum += value * value;
    }
  });
  const std::int64_t last = packs.end_element();
  if (last >= 0) {
    const float value = simt::to_float(from[last]);
    sum += value * value;
  }
  sum = simt::warp_sum(sum);
  if (lane_of_warp() == 0) norms[row] = sqrtf(sum);
}

/// packed: the rows of x and dx lie alike between multiples of 16 bytes.
template <class T, bool packed>
__global__ void __launch_bounds__(norm_block)
    row_norms_backward_kernel(const T* __restrict__ x, const float* __restrict__ norms,
                              const float* __restrict__ dnorms, std::int64_t num_rows, std::int64_t size,
                              T* __restrict__ dx, bool accumulate) {
  const std::int64_t row = warp_of_grid();
  if (row >= num_rows) return;
  const float factor = norms[row] == 0.0F ? 0.0F : dnorms[row] / norms[row];
  const T* const from = x + row * size;
  T* const to = dx + row * size;
  const auto gradient = [=](T value, T before) {
    const float d = simt::to_float(value) * factor;
    return simt::from_float<T>(accumulate ? d + simt::to_float(before) : d);
  };
  if constexpr (packed) {
    using Pack = simt::Pack<T, RowPacks<T>::width>;
    const RowPacks<T> packs(from, size);
    packs.for_packs([&](std::int64_t i) {
      Pack pack = *reinterpret_cast<const Pack*>(from + i);
      auto* const target = reinterpret_cast<Pack*>(to + i);
      Pack before{};
      if (accumulate) before = *target;
#pragma unroll
      for (int j = 0; j < RowPacks<T>::width; ++j) pack.values[j] = gradient(pack.values[j], before.values[j]);
      *target = pack;
    });
    const std::int64_t last = packs.end_element();
    if (last >= 0) to[last] = gradient(from[last], accumulate ? to[last] : T());
  } else {
    for (std::int64_t i = lane_of_warp(); i < size; i += simt::warp_size) {
      to[i] = gradient(from[i], accumulate ? to[i] : T());
    }
  }
}

/// Runs a kernel for choices of num_tokens tokens, the last argument of which is warp_bytes.
template <class... E, class... A>
void launch_choice(const char* op, cudaStream_t stream, void (*kernel)(E...), std::int64_t num_tokens,
                   std::int64_t warp_bytes, A&&... arguments) {
  warp_bytes = simt::ceil_div<std::int64_t>(warp_bytes, 16) * 16;
  const int warps = cuda::warps_per_block(op, warp_bytes);
  simt::launch(op, stream, kernel, simt::num_blocks(op, simt::ceil_div<std::int64_t>(num_tokens, warps)),
               static_cast<unsigned>(warps * simt::warp_size),
               static_cast<std::size_t>(warps) * static_cast<std::size_t>(warp_bytes), arguments...,
               static_cast<int>(warp_bytes));
}

}  // namespace

void CudaBackend::route_top_k(In scores, In selection_bias, const TopKOptions& options, Out probs, Out lse, Out ids,
                              Out weights) {
  check_route_top_k(scores, selection_bias, options, probs, lse, ids, weights);
  const cuda::TopKResult result{probs.data<float>(), lse.data<float>(), ids.data<std::int32_t>(),
                                weights.data<float>()};
  launch_choice("route_top_k", stream_, route_top_k_kernel, scores.size(0),
                cuda::ChoiceMemory::num_bytes(scores.size(1), options.top_k), scores.data<float>(),
                cuda::device_data<float>(selection_bias), scores.size(0), static_cast<int>(scores.size(1)), options,
                result);
}

void CudaBackend::route_top_k_backward(In probs, In lse, In ids, In weights, In dweights, const TopKOptions& options,
                                       const AuxiliaryGradient& auxiliary, Out dscores) {
  check_route_top_k_backward(probs, lse, ids, weights, dweights, options, auxiliary, dscores);
  launch_choice("route_top_k_backward", stream_, route_top_k_backward_kernel, probs.size(0), 4 * probs.size(1),
                cuda::top_k_gradient(probs, lse, ids, weights, dweights, auxiliary), probs.size(0),
                static_cast<int>(probs.size(1)), options, dscores.data<float>());
}

void CudaBackend::row_norms(In x, Out norms) {
  cuda::with_act(check_row_norms(x, norms), [&]<class T>(T) {
    const std::int64_t blocks = simt::ceil_div<std::int64_t>(x.size(0), norm_block / simt::warp_size);
    simt::launch("row_norms", stream_, row_norms_kernel<T>, simt::num_blocks("row_norms", blocks), norm_block, 0,
                 cuda::device_data<T>(x), x.size(0), x.size(1), norms.data<float>());
  });
}

void CudaBackend::row_norms_backward(In x, In norms, In dnorms, Out dx, Accumulate accumulate) {
  cuda::with_act(check_row_norms_backward(x, norms, dnorms, dx), [&]<class T>(T) {
    const char* const op = "row_norms_backward";
    const std::int64_t blocks = simt::ceil_div<std::int64_t>(x.size(0), norm_block / simt::warp_size);
    const auto place = [](const Tensor& t) { return reinterpret_cast<std::uintptr_t>(t.raw()) % 16; };
    const bool packed = place(x) == place(dx);
    simt::launch(op, stream_, packed ? row_norms_backward_kernel<T, true> : row_norms_backward_kernel<T, false>,
                 simt::num_blocks(op, blocks), norm_block, 0, cuda::device_data<T>(x), norms.data<float>(),
                 dnorms.data<float>(), x.size(0), x.size(1), cuda::device_data<T>(dx), accumulate == Accumulate::yes);
  });
}

}  // namespace artel
