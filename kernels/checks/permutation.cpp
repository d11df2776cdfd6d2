#include "kernels/checks/permutation.h"

#include <string>

#include "kernels/checks/checks.h"
#include "util/error.h"

namespace artel {
namespace {

/// Index as i32 [rows of indexed_rows], and x and y as matrices of one type whose rows have the same size.
void check_rows(const char* op, In x, In index, In y, In indexed_rows) {
  check_rank(op, "x", x, 2);
  check_rank(op, "y", y, 2);
  check_dtype(op, "y", y, x.dtype());
  check_shape(op, "y", y, {y.size(0), x.size(1)});
  check_dense(op, "index", index, {indexed_rows.size(0)}, DType::i32);
}

}  // namespace

void check_sort_by_expert(In ids, std::int64_t num_experts, In offsets, In slot_of_row, In row_of_slot) {
  const char* const op = "sort_by_expert";
  check_rank(op, "ids", ids, 1);
  const std::int64_t num_slots = ids.size(0);
  check_dense(op, "ids", ids, {num_slots}, DType::i32);
  check_dense(op, "offsets", offsets, {num_experts + 1}, DType::i32);
  check_dense(op, "slot_of_row", slot_of_row, {num_slots}, DType::i32);
  check_dense(op, "row_of_slot", row_of_slot, {num_slots}, DType::i32);
}

void check_slot_rows(In ids, In token_offsets, std::int64_t stride, In rows) {
  const char* const op = "slot_rows";
  check_rank(op, "rows", rows, 1);
  check_dense(op, "rows", rows, {rows.size(0)}, DType::i32);
  if (ids.defined()) check_dense(op, "ids", ids, {rows.size(0)}, DType::i32);
  check_rank(op, "token_offsets", token_offsets, 1);
  check_dense(op, "token_offsets", token_offsets, {token_offsets.size(0)}, DType::i32);
  const std::int64_t num_tokens = token_offsets.size(0) - 1;
  constexpr std::int64_t most = 2147483647;
  if (num_tokens < 0 || stride < 0 || (num_tokens > 0 && stride > most / num_tokens)) {
    fail(op, "required tokens of together at most " + std::to_string(most) + " rows, found " +
                 std::to_string(num_tokens) + " tokens of " + std::to_string(stride) + "; use smaller micro-batches");
  }
}

void check_gather_rows(In x, In index, In y) {
  check_rows("gather_rows", x, index, y, y);
}

void check_scatter_add_rows(In x, In index, In y) {
  check_rows("scatter_add_rows", x, index, y, x);
  if (x.dtype() == DType::f64) fail("scatter_add_rows", "required x of type f32, bf16 or i32, found f64");
}

DType check_sum_rows(In x, In token_offsets, In row_of_slot, In y) {
  const char* const op = "sum_rows";
  check_rank(op, "x", x, 2);
  const DType act = check_act(op, "x", x);
  check_rank(op, "y", y, 2);
  check_shape(op, "y", y, {y.size(0), x.size(1)});
  check_dtype(op, "y", y, act);
  check_dense(op, "token_offsets", token_offsets, {y.size(0) + 1}, DType::i32);
  check_dense(op, "row_of_slot", row_of_slot, {x.size(0)}, DType::i32);
  return act;
}

}  // namespace artel
