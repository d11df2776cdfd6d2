#include "support/reference/loss.h"

#include <algorithm>

namespace artel::reference {
namespace {

double log_sum_exp(const double* x, std::size_t count) {
  const double largest = *std::max_element(x, x + count);
  double sum = 0.0;
  for (std::size_t i = 0; i < count; ++i) sum += std::exp(x[i] - largest);
  return largest + std::log(sum);
}

}  // namespace

Vector cross_entropy(const Vector& logits, const Ids& targets, std::size_t vocab_size) {
  Vector losses;
  for (std::size_t row = 0; row < targets.size(); ++row) {
    const double* x = &logits[row * vocab_size];
    losses.push_back(log_sum_exp(x, vocab_size) - x[targets[row]]);
  }
  return losses;
}

Vector cross_entropy_backward(const Vector& logits, const Ids& targets, std::size_t vocab_size, const Vector& dlosses) {
  Vector dlogits;
  for (std::size_t row = 0; row < targets.size(); ++row) {
    const double* x = &logits[row * vocab_size];
    const double lse = log_sum_exp(x, vocab_size);
    for (std::size_t v = 0; v < vocab_size; ++v) {
      const double target = v == static_cast<std::size_t>(targets[row]) ? 1.0 : 0.0;
      dlogits.push_back(dlosses[row] * (std::exp(x[v] - lse) - target));
    }
  }
  return dlogits;
}

}  // namespace artel::reference
