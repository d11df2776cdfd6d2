#pragma once

#include "support/reference/types.h"

namespace artel::reference {

struct RmsNorm {
  Vector y;     ///< [T, d]
  Vector rstd;  ///< [T]
};
struct RmsNormGradients {
  Vector dx;  ///< [T, d]
  Vector dw;  ///< [d]
};
/// y = x · rstd · w, rstd = 1/sqrt(mean(x²) + eps). x [T, d], w [d].
RmsNorm rms_norm(const Vector& x, const Vector& w, double eps);
RmsNormGradients rms_norm_backward(const Vector& x, const Vector& w, double eps, const Vector& dy);

/// L2 norms [R] of the rows of x [R, r].
Vector row_norms(const Vector& x, std::size_t row_size);
/// dx [R, r]; rows whose norm is 0 get 0.
Vector row_norms_backward(const Vector& x, std::size_t row_size, const Vector& dnorms);

}  // namespace artel::reference
