#include "support/reference/products.h"

namespace artel::reference {

Vector grouped_linear(const Vector& x, const Ids& offsets, const Vector& w, std::size_t in, std::size_t out) {
  Vector y(x.size() / in * out, 0.0);
  for (std::size_t g = 0; g + 1 < offsets.size(); ++g) {
    for (auto row = static_cast<std::size_t>(offsets[g]); row < static_cast<std::size_t>(offsets[g + 1]); ++row) {
      for (std::size_t o = 0; o < out; ++o) {
        for (std::size_t i = 0; i < in; ++i) y[row * out + o] += x[row * in + i] * w[(g * out + o) * in + i];
      }
    }
  }
  return y;
}

LinearGradients grouped_linear_backward(const Vector& x, const Ids& offsets, const Vector& w, const Vector& dy,
                                        std::size_t in, std::size_t out) {
  LinearGradients result{Vector(x.size(), 0.0), Vector(w.size(), 0.0)};
  for (std::size_t g = 0; g + 1 < offsets.size(); ++g) {
    for (auto row = static_cast<std::size_t>(offsets[g]); row < static_cast<std::size_t>(offsets[g + 1]); ++row) {
      for (std::size_t o = 0; o < out; ++o) {
        for (std::size_t i = 0; i < in; ++i) {
          const std::size_t weight = (g * out + o) * in + i;
          result.dx[row * in + i] += dy[row * out + o] * w[weight];
          result.dw[weight] += dy[row * out + o] * x[row * in + i];
        }
      }
    }
  }
  return result;
}

Vector linear(const Vector& x, const Vector& w, std::size_t in, std::size_t out) {
  return grouped_linear(x, {0, static_cast<std::int32_t>(x.size() / in)}, w, in, out);
}

LinearGradients linear_backward(const Vector& x, const Vector& w, const Vector& dy, std::size_t in, std::size_t out) {
  return grouped_linear_backward(x, {0, static_cast<std::int32_t>(x.size() / in)}, w, dy, in, out);
}

}  // namespace artel::reference
