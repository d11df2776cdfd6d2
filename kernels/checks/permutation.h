#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace artel {

// Arguments of the kernels as kernels/backend.h declares them.

void check_sort_by_expert(In ids, std::int64_t num_experts, In offsets, In slot_of_row, In row_of_slot);
/// Also that the rows can be told apart in 32 bits.
void check_slot_rows(In ids, In token_offsets, std::int64_t stride, In rows);
void check_gather_rows(In x, In index, In y);
void check_scatter_add_rows(In x, In index, In y);
/// Returns the type of x.
DType check_sum_rows(In x, In token_offsets, In row_of_slot, In y);

}  // namespace artel
