#include <cmath>
#include <limits>

#include "kernels/checks/optimizer.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/optimizer.h"
#include "kernels/cpu/tasks.h"

namespace artel {

void CpuBackend::gradient_scale(In figures, double max_norm, Out scale) {
  check_gradient_scale(figures, scale);
  const double* const found = figures.data<double>();
  const double norm = std::sqrt(found[0]);
  const bool clips = max_norm > 0.0 && norm > max_norm;
  const bool applies =
      std::isfinite(norm) && std::isfinite(found[1]) && (clips ? max_norm : norm) <= largest_gradient_norm;
  *scale.data<float>() =
      applies ? (clips ? static_cast<float>(max_norm / norm) : 1.0F) : std::numeric_limits<float>::quiet_NaN();
}

void CpuBackend::adamw(In grad, In grad_scale, const AdamWOptions& options, InOut master, InOut exp_avg,
                       InOut exp_avg_sq, Out param) {
  const AdamWFactors factors = check_adamw(grad, grad_scale, options, master, exp_avg, exp_avg_sq, param);
  const float scale = *grad_scale.data<float>();
  if (std::isnan(scale)) return;
  const float* const pgrad = grad.data<float>();
  float* const pmaster = master.data<float>();
  float* const pexp_avg = exp_avg.data<float>();
  float* const pexp_avg_sq = exp_avg_sq.data<float>();
  bf16* const pparam = param.defined() ? param.data<bf16>() : nullptr;
  const auto update = cpu::optimizer_rows(isa_).adamw;
  for_chunks(pool_, master.numel(), elements_per_task, [=](std::int64_t begin, std::int64_t end, int) {
    update(end - begin, factors, scale, pgrad + begin, pmaster + begin, pexp_avg + begin, pexp_avg_sq + begin,
           pparam == nullptr ? nullptr : pparam + begin);
  });
}

}  // namespace artel
