#include "kernels/checks/swiglu.h"

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"

// One pass at the speed of memory: a group of `lanes` neighbouring lanes of a warp, a power of two, has one row. Most
// rows have a warp; those too short for one share it.

namespace artel {
namespace {

using simt::Pack;

constexpr int block_size = 256;

struct Silu {
  float value;
  float slope;
};

/// SiLU(z) = z · sigmoid(z) with its derivative.
__device__ Silu silu(float z) {
  const float sigmoid = 1.0F / (1.0F + expf(-z));
  const float value = z * sigmoid;
  return {value, sigmoid + value * (1.0F - sigmoid)};
}

/// The row of this thread's group.
__device__ std::int64_t row_of_group(int lanes) {
  return std::int64_t{blockIdx.x} * (block_size / lanes) + static_cast<int>(threadIdx.x) / lanes;
}

/// hidden [A, E] = weights · SiLU(gate) · up; weights [A] may be null.
template <class T, int width>
__global__ void __launch_bounds__(block_size)
    swiglu_kernel(const T* __restrict__ gate_up, const float* __restrict__ weights, T* __restrict__ hidden,
                  std::int64_t num_rows, std::int64_t size, int lanes) {
  using Values = Pack<T, width>;
  const std::int64_t row = row_of_group(lanes);
  if (row >= num_rows) return;
  const float weight = weights != nullptr ? weights[row] : 1.0F;
  const T* const gates = gate_up + row * 2 * size;
  const std::int64_t stride = std::int64_t{lanes} * width;
#pragma unroll 2
  for (std::int64_t i = (threadIdx.x % static_cast<unsigned>(lanes)) * width; i < size; i += stride) {
    const Values gate = *reinterpret_cast<const Values*>(gates + i);
    const Values up = *reinterpret_cast<const Values*>(gates + size + i);
    Values out;
#pragma unroll
    for (int k = 0; k < width; ++k) {
      out.values[k] =
          simt::from_float<T>(weight * (silu(simt::to_float(gate.values[k])).value * simt::to_float(up.values[k])));
    }
    *reinterpret_cast<Values*>(hidden + row * size + i) = out;
  }
}

/// dgate_up [A, 2, E] = ; dweights [A] = <dhidden, SiLU(gate) · up>, null without weights.
template <class T, int width>
__global__ void __launch_bounds__(block_size)
    swiglu_backward_kernel(const T* __restrict__ gate_up, const float* __restrict__ weights,
                           const T* __restrict__ dhidden, T* __restrict__ dgate_up, float* __restrict__ dweights,
                           std::int64_t num_rows, std::int64_t size, int lanes) {
  using Values = Pack<T, width>;
  const std::int64_t row = row_of_group(lanes);
  const bool has_row = row < num_rows;
  const float weight = has_row && weights != nullptr ? weights[row] : 1.0F;
  const std::int64_t offset = row * 2 * size;
  const std::int64_t stride = std::int64_t{lanes} * width;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  float dot = 0.0F;
#pragma unroll 2
  for (std::int64_t i = std::int64_t{lane} * width; i < (has_row ? size : 0); i += stride) {
    const Values gate = *reinterpret_cast<const Values*>(gate_up + offset + i);
    const Values up = *reinterpret_cast<const Values*>(gate_up + offset + size + i);
    const Values dout = *reinterpret_cast<const Values*>(dhidden + row * size + i);
    Values dgate;
    Values dup;
#pragma unroll
    for (int k = 0; k < width; ++k) {
      const Silu act = silu(simt::to_float(gate.values[k]));
      const float u = simt::to_float(up.values[k]);
      const float dh = simt::to_float(dout.values[k]);
      dot += dh * (act.value * u);
      dgate.values[k] = simt::from_float<T>(weight * dh * u * act.slope);
      dup.values[k] = simt::from_float<T>(weight * dh * act.value);
    }
    *reinterpret_cast<Values*>(dgate_up + offset + i) = dgate;
    *reinterpret_cast<Values*>(dgate_up + offset + size + i) = dup;
  }
  if (dweights == nullptr) return;  // the same for all threads
  for (int reach = lanes / 2; reach > 0; reach /= 2) dot += __shfl_xor_sync(simt::full_mask, dot, reach);
  if (has_row && lane == 0) dweights[row] = dot;
}

/// run(lanes, number of blocks) for rows of num_packs packs.
template <class Run>
void with_lanes(const char* op, std::int64_t num_rows, std::int64_t num_packs, const Run& run) {
  int lanes = 1;
  while (lanes < simt::warp_size && lanes < num_packs) lanes *= 2;
  run(lanes, simt::num_blocks(op, simt::ceil_div<std::int64_t>(num_rows, block_size / lanes)));
}

template <class T, int width>
void run_forward(cudaStream_t stream, In gate_up, In weights, Out hidden) {
  const std::int64_t num_rows = hidden.size(0);
  const std::int64_t size = hidden.size(1);
  with_lanes("swiglu", num_rows, size / width, [&](int lanes, unsigned blocks) {
    simt::launch("swiglu", stream, swiglu_kernel<T, width>, blocks, block_size, 0, cuda::device_data<T>(gate_up),
                 cuda::device_data<float>(weights), cuda::device_data<T>(hidden), num_rows, size, lanes);
  });
}

template <class T, int width>
void run_backward(cudaStream_t stream, In gate_up, In weights, In dhidden, Out dgate_up, Out dweights) {
  const std::int64_t num_rows = dhidden.size(0);
  const std::int64_t size = dhidden.size(1);
  with_lanes("swiglu_backward", num_rows, size / width, [&](int lanes, unsigned blocks) {
    simt::launch("swiglu_backward", stream, swiglu_backward_kernel<T, width>, blocks, block_size, 0,
                 cuda::device_data<T>(gate_up), cuda::device_data<float>(weights), cuda::device_data<T>(dhidden),
                 cuda::device_data<T>(dgate_up), cuda::device_data<float>(dweights), num_rows, size, lanes);
  });
}

}  // namespace

void CudaBackend::swiglu(In gate_up, In weights, Out hidden) {
  check_swiglu(gate_up, weights, hidden);
  if (hidden.numel() == 0) return;
  cuda::with_act(gate_up.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t size = hidden.size(1);
    if (simt::packs(cuda::device_data<T>(gate_up), size, size) &&
        simt::packs(cuda::device_data<T>(hidden), size, size)) {
      run_forward<T, simt::pack_width<T>>(stream_, gate_up, weights, hidden);
    } else {
      run_forward<T, 1>(stream_, gate_up, weights, hidden);
    }
  });
}

void CudaBackend::swiglu_backward(In gate_up, In weights, In dhidden, Out dgate_up, Out dweights) {
  check_swiglu_backward(gate_up, weights, dhidden, dgate_up, dweights);
  if (dhidden.size(0) == 0) return;
  cuda::with_act(gate_up.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t size = dhidden.size(1);
    if (simt::packs(cuda::device_data<T>(gate_up), size, size) &&
        simt::packs(cuda::device_data<T>(dhidden), size, size) &&
        simt::packs(cuda::device_data<T>(dgate_up), size, size)) {
      run_backward<T, simt::pack_width<T>>(stream_, gate_up, weights, dhidden, dgate_up, dweights);
    } else {
      run_backward<T, 1>(stream_, gate_up, weights, dhidden, dgate_up, dweights);
    }
  });
}

}  // namespace artel
