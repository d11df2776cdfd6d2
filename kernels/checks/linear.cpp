#include "kernels/checks/linear.h"

#include <algorithm>
#include <string>

#include "kernels/checks/checks.h"
#include "util/error.h"

namespace artel {
namespace {

[[noreturn]] void refuse_types(const char* op, const char* left, DType left_type, const char* right, DType right_type) {
  fail(op, std::string("required ") + left + " and " + right + " of one type, found " + dtype_name(left_type) +
               " and " + dtype_name(right_type));
}

// y holds a product of operands of type `act`: it has their type, or is f32.
void check_result(const char* op, const char* name, const Tensor& y, DType act) {
  if (check_act(op, name, y) != act) check_dtype(op, name, y, DType::f32);
}

ProductSizes sizes_of(const char* op, const char* rows_name, const Tensor& rows, const char* w_name, const Tensor& w,
                      bool grouped) {
  check_rank(op, rows_name, rows, 2);
  check_rank(op, w_name, w, grouped ? 3 : 2);
  check_contiguous(op, w_name, w);
  const int first = grouped ? 1 : 0;
  return {rows.size(0), w.size(first + 1), w.size(first), grouped ? w.size(0) : 1};
}

}  // namespace

ProductSizes check_linear(const char* op, In x, In w, Out y, bool grouped) {
  const ProductSizes s = sizes_of(op, "x", x, "w", w, grouped);
  check_shape(op, "x", x, {s.rows, s.in});
  check_shape(op, "y", y, {s.rows, s.out});
  const DType act = check_act(op, "x", x);
  if (w.dtype() != act) refuse_types(op, "x", act, "w", w.dtype());
  check_result(op, "y", y, act);
  return s;
}

ProductSizes check_linear_backward_data(const char* op, In dy, In w, Out dx, bool grouped) {
  const ProductSizes s = sizes_of(op, "dy", dy, "w", w, grouped);
  check_shape(op, "dy", dy, {s.rows, s.out});
  check_shape(op, "dx", dx, {s.rows, s.in});
  const DType act = check_act(op, "w", w);
  if (check_act(op, "dy", dy) != act && dy.dtype() != DType::f32) refuse_types(op, "dy", dy.dtype(), "w", act);
  check_result(op, "dx", dx, act);
  return s;
}

ProductSizes check_linear_backward_weight(const char* op, In x, In dy, Out dw, bool grouped) {
  const ProductSizes s = sizes_of(op, "x", x, "dw", dw, grouped);
  check_shape(op, "x", x, {s.rows, s.in});
  check_shape(op, "dy", dy, {s.rows, s.out});
  check_dtype(op, "dw", dw, DType::f32);
  const DType act = check_act(op, "x", x);
  if (check_act(op, "dy", dy) != act && dy.dtype() != DType::f32) refuse_types(op, "dy", dy.dtype(), "x", act);
  return s;
}

void check_groups(const char* op, const GroupOffsets& groups, const char* rows_name, In rows, const char* w_name,
                  In w) {
  check_rank(op, rows_name, rows, 2);
  check_rank(op, w_name, w, 3);
  const auto& offsets = groups.host;
  const std::int64_t num_groups = w.size(0);
  const std::int64_t num_rows = rows.size(0);
  if (static_cast<std::int64_t>(offsets.size()) != num_groups + 1) {
    fail(op,
         "required " + std::to_string(num_groups + 1) + " offsets of groups, found " + std::to_string(offsets.size()));
  }
  if (offsets.front() != 0 || offsets.back() != num_rows || !std::is_sorted(offsets.begin(), offsets.end())) {
    fail(op, "required offsets of groups that ascend from 0 to " + std::to_string(num_rows) + ", found " +
                 std::to_string(offsets.front()) + " .. " + std::to_string(offsets.back()) +
                 (std::is_sorted(offsets.begin(), offsets.end()) ? "" : ", not ascending"));
  }
}

std::array<std::int32_t, 2> one_group(const char* op, const char* name, In x) {
  check_rank(op, name, x, 2);
  constexpr std::int64_t most = 2147483647;
  if (x.size(0) > most) {
    fail(op, "required at most " + std::to_string(most) + " rows, found " + std::to_string(x.size(0)));
  }
  return {0, static_cast<std::int32_t>(x.size(0))};
}

}  // namespace artel
