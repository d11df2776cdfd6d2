#include "support/reference/optimizer.h"

namespace artel::reference {

AdamWState adamw(const Vector& grad, double grad_scale, const AdamWOptions& options, AdamWState state) {
  const double beta1 = options.beta1;
  const double beta2 = options.beta2;
  const auto step = static_cast<double>(options.step);
  for (std::size_t i = 0; i < grad.size(); ++i) {
    const double g = grad[i] * grad_scale;
    state.master[i] *= 1.0 - static_cast<double>(options.lr) * options.weight_decay;
    state.exp_avg[i] = beta1 * state.exp_avg[i] + (1.0 - beta1) * g;
    state.exp_avg_sq[i] = beta2 * state.exp_avg_sq[i] + (1.0 - beta2) * g * g;
    const double mean = state.exp_avg[i] / (1.0 - std::pow(beta1, step));
    const double mean_square = state.exp_avg_sq[i] / (1.0 - std::pow(beta2, step));
    state.master[i] -= options.lr * mean / (std::sqrt(mean_square) + options.eps);
  }
  return state;
}

}  // namespace artel::reference
