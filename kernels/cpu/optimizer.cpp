#include <cmath>
#include <string>

#include "kernels/checks/checks.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/optimizer.h"
#include "kernels/cpu/tasks.h"
#include "util/error.h"

namespace artel {
namespace {

cpu::AdamWFactors make_factors(const AdamWOptions& options, float grad_scale) {
  if (options.step < 1) fail("adamw", "required a step of at least 1, found " + std::to_string(options.step));
  const double lr = options.lr;
  const auto step = static_cast<double>(options.step);
  cpu::AdamWFactors factors{};
  factors.grad_scale = grad_scale;
  factors.beta1 = options.beta1;
  factors.beta2 = options.beta2;
  factors.eps = options.eps;
  factors.decay = static_cast<float>(1.0 - lr * options.weight_decay);
  factors.step_size = static_cast<float>(lr / (1.0 - std::pow(static_cast<double>(options.beta1), step)));
  factors.denom_scale = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(static_cast<double>(options.beta2), step)));
  return factors;
}

}  // namespace

void CpuBackend::adamw(In grad, In grad_scale, const AdamWOptions& options, InOut master, InOut exp_avg,
                       InOut exp_avg_sq, Out param) {
  check_rank("adamw", "master", master, 1);
  const std::int64_t n = master.size(0);
  check_dense("adamw", "master", master, {n}, DType::f32);
  check_dense("adamw", "grad", grad, {n}, DType::f32);
  check_dense("adamw", "grad_scale", grad_scale, {1}, DType::f32);
  check_dense("adamw", "exp_avg", exp_avg, {n}, DType::f32);
  check_dense("adamw", "exp_avg_sq", exp_avg_sq, {n}, DType::f32);
  if (param.defined()) check_dense("adamw", "param", param, {n}, DType::bf16);

  const cpu::AdamWFactors factors = make_factors(options, *grad_scale.data<float>());
  const float* const pgrad = grad.data<float>();
  float* const pmaster = master.data<float>();
  float* const pexp_avg = exp_avg.data<float>();
  float* const pexp_avg_sq = exp_avg_sq.data<float>();
  bf16* const pparam = param.defined() ? param.data<bf16>() : nullptr;
  const auto update = cpu::optimizer_rows(isa_).adamw;
  for_chunks(pool_, n, elements_per_task, [=](std::int64_t begin, std::int64_t end, int) {
    update(end - begin, factors, pgrad + begin, pmaster + begin, pexp_avg + begin, pexp_avg_sq + begin,
           pparam == nullptr ? nullptr : pparam + begin);
  });
}

}  // namespace artel
