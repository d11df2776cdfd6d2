#include "kernels/checks/optimizer.h"

#include <cmath>
#include <string>

#include "kernels/checks/checks.h"
#include "util/error.h"

namespace artel {
namespace {

AdamWFactors make_factors(const AdamWOptions& options) {
  const double lr = options.lr;
  const auto step = static_cast<double>(options.step);
  AdamWFactors factors{};
  factors.beta1 = options.beta1;
  factors.beta2 = options.beta2;
  factors.eps = options.eps;
  factors.decay = static_cast<float>(1.0 - lr * options.weight_decay);
  factors.step_size = static_cast<float>(lr / (1.0 - std::pow(static_cast<double>(options.beta1), step)));
  factors.denom_scale = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(static_cast<double>(options.beta2), step)));
  return factors;
}

}  // namespace

AdamWFactors check_adamw(In grad, In grad_scale, const AdamWOptions& options, InOut master, InOut exp_avg,
                         InOut exp_avg_sq, Out param) {
  const char* const op = "adamw";
  check_rank(op, "master", master, 1);
  const std::int64_t n = master.size(0);
  check_dense(op, "master", master, {n}, DType::f32);
  check_dense(op, "grad", grad, {n}, DType::f32);
  check_dense(op, "grad_scale", grad_scale, {1}, DType::f32);
  check_dense(op, "exp_avg", exp_avg, {n}, DType::f32);
  check_dense(op, "exp_avg_sq", exp_avg_sq, {n}, DType::f32);
  if (param.defined()) check_dense(op, "param", param, {n}, DType::bf16);
  if (options.step < 1) fail(op, "required a step of at least 1, found " + std::to_string(options.step));
  return make_factors(options);
}

void check_gradient_scale(In figures, Out scale) {
  check_dense("gradient_scale", "figures", figures, {2}, DType::f64);
  check_dense("gradient_scale", "scale", scale, {1}, DType::f32);
}

}  // namespace artel
