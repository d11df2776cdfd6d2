#include "kernels/cpu/rows/optimizer.h"

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

template <bool with_param>
void update(std::int64_t n, const AdamWFactors f, float grad_scale, const float* grad, float* master, float* exp_avg,
            float* exp_avg_sq, bf16* param) {
  for_vectors(n, [=](std::int64_t i, auto part) {
    const vfloat g = load_part(grad + i, part) * grad_scale;
    const vfloat m0 = load_part(exp_avg + i, part);
    const vfloat v0 = load_part(exp_avg_sq + i, part);
    const vfloat m = m0 + (1.0F - f.beta1) * (g - m0);
    const vfloat v = v0 * f.beta2 + (1.0F - f.beta2) * (g * g);
    const vfloat denom = sqrt(v) * f.denom_scale + f.eps;
    const vfloat w = load_part(master + i, part) * f.decay - f.step_size * (m / denom);
    store_part(exp_avg + i, m, part);
    store_part(exp_avg_sq + i, v, part);
    store_part(master + i, w, part);
    if (with_param) store_part(param + i, w, part);
  });
}

void adamw(std::int64_t n, const AdamWFactors& factors, float grad_scale, const float* grad, float* master,
           float* exp_avg, float* exp_avg_sq, bf16* param) {
  if (param != nullptr) {
    update<true>(n, factors, grad_scale, grad, master, exp_avg, exp_avg_sq, param);
  } else {
    update<false>(n, factors, grad_scale, grad, master, exp_avg, exp_avg_sq, param);
  }
}

}  // namespace

extern const OptimizerRows optimizer_rows;
const OptimizerRows optimizer_rows = {adamw};

}  // namespace artel::cpu::ARTEL_ISA
