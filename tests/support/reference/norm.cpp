#include "support/reference/norm.h"

namespace artel::reference {

RmsNorm rms_norm(const Vector& x, const Vector& w, double eps) {
  const std::size_t d = w.size();
  RmsNorm result;
  for (std::size_t t = 0; t < x.size() / d; ++t) {
    double squares = 0.0;
    for (std::size_t i = 0; i < d; ++i) squares += x[t * d + i] * x[t * d + i];
    const double rstd = 1.0 / std::sqrt(squares / static_cast<double>(d) + eps);
    result.rstd.push_back(rstd);
    for (std::size_t i = 0; i < d; ++i) result.y.push_back(x[t * d + i] * rstd * w[i]);
  }
  return result;
}

RmsNormGradients rms_norm_backward(const Vector& x, const Vector& w, double eps, const Vector& dy) {
  const std::size_t d = w.size();
  const Vector rstd = rms_norm(x, w, eps).rstd;
  RmsNormGradients result{Vector(x.size()), Vector(d, 0.0)};
  for (std::size_t t = 0; t < x.size() / d; ++t) {
    double drstd = 0.0;
    for (std::size_t i = 0; i < d; ++i) {
      drstd += dy[t * d + i] * w[i] * x[t * d + i];
      result.dw[i] += dy[t * d + i] * x[t * d + i] * rstd[t];
    }
    const double dmean = drstd * -0.5 * rstd[t] * rstd[t] * rstd[t];  // d rstd / d mean(x²)
    for (std::size_t i = 0; i < d; ++i) {
      result.dx[t * d + i] = dy[t * d + i] * w[i] * rstd[t] + dmean * 2.0 * x[t * d + i] / static_cast<double>(d);
    }
  }
  return result;
}

Vector row_norms(const Vector& x, std::size_t row_size) {
  Vector norms;
  for (std::size_t row = 0; row < x.size() / row_size; ++row) {
    double squares = 0.0;
    for (std::size_t i = 0; i < row_size; ++i) squares += x[row * row_size + i] * x[row * row_size + i];
    norms.push_back(std::sqrt(squares));
  }
  return norms;
}

Vector row_norms_backward(const Vector& x, std::size_t row_size, const Vector& dnorms) {
  const Vector norms = row_norms(x, row_size);
  Vector dx(x.size(), 0.0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double norm = norms[i / row_size];
    if (norm > 0.0) dx[i] = dnorms[i / row_size] * x[i] / norm;
  }
  return dx;
}

}  // namespace artel::reference
