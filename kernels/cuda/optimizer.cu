#include "kernels/checks/optimizer.h"

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"

// 28 bytes of traffic per element, 30 with a bf16 copy, and little arithmetic: one pass at the speed of memory, for any
// arena in one launch.

namespace artel {
namespace {

using simt::Pack;

constexpr int block_size = 256;
constexpr int pack_width = simt::pack_width<float>;

/// One element's state, updated in registers.
struct Weight {
  float master;
  float exp_avg;
  float exp_avg_sq;
};

__device__ Weight updated(Weight w, float grad, const AdamWFactors& f) {
  w.exp_avg += (1.0F - f.beta1) * (grad - w.exp_avg);
  w.exp_avg_sq = w.exp_avg_sq * f.beta2 + (1.0F - f.beta2) * (grad * grad);
  const float denom = sqrtf(w.exp_avg_sq) * f.denom_scale + f.eps;
  w.master = w.master * f.decay - f.step_size * (w.exp_avg / denom);
  return w;
}

/// The arenas [n] of an update; param may be null.
struct Arenas {
  const float* grad;
  float* master;
  float* exp_avg;
  float* exp_avg_sq;
  __nv_bfloat16* param;
};

template <int width>
__global__ void __launch_bounds__(block_size)
    adamw_kernel(Arenas arenas, std::int64_t n, AdamWFactors factors, const float* grad_scale) {
  const std::int64_t first = (std::int64_t{blockIdx.x} * block_size + threadIdx.x) * width;
  const float scale = *grad_scale;
  if (isnan(scale)) return;  // the same for all threads
  if (first + width <= n) {
    using Floats = Pack<float, width>;
    const Floats grad = *reinterpret_cast<const Floats*>(arenas.grad + first);
    Floats master = *reinterpret_cast<const Floats*>(arenas.master + first);
    Floats exp_avg = *reinterpret_cast<const Floats*>(arenas.exp_avg + first);
    Floats exp_avg_sq = *reinterpret_cast<const Floats*>(arenas.exp_avg_sq + first);
    Pack<__nv_bfloat16, width> param = {};
#pragma unroll
    for (int k = 0; k < width; ++k) {
      const Weight w =
          updated({master.values[k], exp_avg.values[k], exp_avg_sq.values[k]}, grad.values[k] * scale, factors);
      master.values[k] = w.master;
      exp_avg.values[k] = w.exp_avg;
      exp_avg_sq.values[k] = w.exp_avg_sq;
      param.values[k] = __float2bfloat16(w.master);
    }
    *reinterpret_cast<Floats*>(arenas.master + first) = master;
    *reinterpret_cast<Floats*>(arenas.exp_avg + first) = exp_avg;
    *reinterpret_cast<Floats*>(arenas.exp_avg_sq + first) = exp_avg_sq;
    if (arenas.param != nullptr) *reinterpret_cast<Pack<__nv_bfloat16, width>*>(arenas.param + first) = param;
    return;
  }
  for (std::int64_t i = first; i < n; ++i) {
    const Weight w =
        updated({arenas.master[i], arenas.exp_avg[i], arenas.exp_avg_sq[i]}, arenas.grad[i] * scale, factors);
    arenas.master[i] = w.master;
    arenas.exp_avg[i] = w.exp_avg;
    arenas.exp_avg_sq[i] = w.exp_avg_sq;
    if (arenas.param != nullptr) arenas.param[i] = __float2bfloat16(w.master);
  }
}

/// One warp, of which one thread works.
__global__ void __launch_bounds__(simt::warp_size)
    gradient_scale_kernel(const double* figures, double max_norm, float* scale) {
  if (threadIdx.x != 0) return;
  const double norm = sqrt(figures[0]);
  const bool clips = max_norm > 0.0 && norm > max_norm;
  const bool applies = isfinite(norm) && isfinite(figures[1]) && (clips ? max_norm : norm) <= largest_gradient_norm;
  *scale = applies ? (clips ? static_cast<float>(max_norm / norm) : 1.0F) : nanf("");
}

}  // namespace

void CudaBackend::gradient_scale(In figures, double max_norm, Out scale) {
  check_gradient_scale(figures, scale);
  simt::launch("gradient_scale", stream_, gradient_scale_kernel, 1, simt::warp_size, 0,
               cuda::device_data<double>(figures), max_norm, cuda::device_data<float>(scale));
}

void CudaBackend::adamw(In grad, In grad_scale, const AdamWOptions& options, InOut master, InOut exp_avg,
                        InOut exp_avg_sq, Out param) {
  const AdamWFactors factors = check_adamw(grad, grad_scale, options, master, exp_avg, exp_avg_sq, param);
  const std::int64_t n = master.numel();
  if (n == 0) return;
  const Arenas arenas{cuda::device_data<float>(grad), cuda::device_data<float>(master),
                      cuda::device_data<float>(exp_avg), cuda::device_data<float>(exp_avg_sq),
                      cuda::device_data<__nv_bfloat16>(param)};
  const bool packed = simt::packs(arenas.grad, 0, 0) && simt::packs(arenas.master, 0, 0) &&
                      simt::packs(arenas.exp_avg, 0, 0) && simt::packs(arenas.exp_avg_sq, 0, 0) &&
                      simt::packs<__nv_bfloat16, pack_width>(arenas.param, 0, 0);
  const auto run = [&](auto kernel, int width) {
    const std::int64_t blocks = simt::ceil_div(n, std::int64_t{block_size} * width);
    simt::launch("adamw", stream_, kernel, simt::num_blocks("adamw", blocks), block_size, 0, arenas, n, factors,
                 cuda::device_data<float>(grad_scale));
  };
  packed ? run(adamw_kernel<pack_width>, pack_width) : run(adamw_kernel<1>, 1);
}

}  // namespace artel
