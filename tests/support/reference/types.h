#pragma once
// Naive references in double precision, written to be read. They share no code with the kernels: a backward reference
// applies the chain rule step by step and is itself checked against central differences of its forward reference
// (tests/kernels/reference_gradients_test.cpp). Tensors are flat row-major vectors; an empty vector stands for "none".
// Shapes: T tokens · d hidden_size · V vocab_size · N num_experts · K num_experts_per_tok · S routing neurons per
// expert · A assignments · G groups · M sets of tokens · E width of an expert · B sequences · Q sequence length
// H query heads · J key/value heads · h head_dim.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace artel::reference {

using Vector = std::vector<double>;
using Ids = std::vector<std::int32_t>;

inline double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}
inline double silu(double x) {
  return x * sigmoid(x);
}
/// d silu(x) / dx.
inline double silu_slope(double x) {
  const double s = sigmoid(x);
  return s + x * s * (1.0 - s);
}

}  // namespace artel::reference
