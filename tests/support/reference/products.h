#pragma once

#include "support/reference/types.h"

namespace artel::reference {

struct LinearGradients {
  Vector dx;  ///< [A, in]
  Vector dw;  ///< [G, out, in]
};

/// y [T, out] = x [T, in] · w^T, w [out, in].
Vector linear(const Vector& x, const Vector& w, std::size_t in, std::size_t out);
LinearGradients linear_backward(const Vector& x, const Vector& w, const Vector& dy, std::size_t in, std::size_t out);

/// x [A, in], w [G, out, in]: rows offsets[g] .. offsets[g+1] of x meet w[g]. offsets [G + 1].
Vector grouped_linear(const Vector& x, const Ids& offsets, const Vector& w, std::size_t in, std::size_t out);
LinearGradients grouped_linear_backward(const Vector& x, const Ids& offsets, const Vector& w, const Vector& dy,
                                        std::size_t in, std::size_t out);

}  // namespace artel::reference
