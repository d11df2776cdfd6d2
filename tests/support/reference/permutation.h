#pragma once

#include "support/reference/types.h"

namespace artel::reference {

struct Order {
  Ids offsets;      ///< [N + 1]
  Ids slot_of_row;  ///< [A]
  Ids row_of_slot;  ///< [A]
};
/// Slots 0..A-1 by expert, slots of one expert in ascending order.
Order sort_by_expert(const Ids& ids, std::size_t num_experts);

/// y [A, c] = x[index]; rows of `row_size` elements.
Vector gather_rows(const Vector& x, const Ids& index, std::size_t row_size);
/// y[index] += x [A, c]; repeats add up. The gradient of gather_rows.
Vector scatter_add_rows(const Vector& x, const Ids& index, Vector y, std::size_t row_size);
/// y [T, d] = sum over the slots of each token of x[row_of_slot[slot]].
Vector sum_rows(const Vector& x, const Ids& token_offsets, const Ids& row_of_slot, std::size_t row_size);
/// x [P, R, C] -> [R, P, C].
Vector swap_leading(const Vector& x, std::size_t outer, std::size_t middle, std::size_t inner);

}  // namespace artel::reference
