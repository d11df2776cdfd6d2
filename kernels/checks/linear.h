#pragma once

#include <array>
#include <cstdint>

#include "kernels/backend.h"

namespace artel {

/// A product of rows with weights, or one of its gradients: rows [rows, in] or [rows, out], w [num_groups, out, in];
/// one group for a product that is not grouped.
struct ProductSizes {
  std::int64_t rows = 0;
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t num_groups = 0;
};

/// The arguments of linear and grouped_linear, without the groups' offsets (check_groups).
ProductSizes check_linear(const char* op, In x, In w, Out y, bool grouped);
/// dy is of w's type, or f32.
ProductSizes check_linear_backward_data(const char* op, In dy, In w, Out dx, bool grouped);
/// dy is of x's type, or f32.
ProductSizes check_linear_backward_weight(const char* op, In x, In dy, Out dw, bool grouped);

/// The offsets have one entry more than `w` [G, …] has groups and ascend from 0 to the number of rows of `rows`.
void check_groups(const char* op, const GroupOffsets& groups, const char* rows_name, In rows, const char* w_name, In w);

/// Offsets of the one group of a product that is not grouped: all rows of x.
std::array<std::int32_t, 2> one_group(const char* op, const char* name, In x);

}  // namespace artel
