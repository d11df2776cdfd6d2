// Weights are [out, in]; a product that is not grouped has one group.

#include <algorithm>
#include <array>
#include <string>

#include "kernels/checks/checks.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/products.h"
#include "util/error.h"

namespace artel {
namespace {

using cpu::Machine;
using cpu::Matrix;
using cpu::Transpose;

[[noreturn]] void refuse_types(const char* op, const char* left, DType left_type, const char* right, DType right_type) {
  fail(op, std::string("required ") + left + " and " + right + " of one type, found " + dtype_name(left_type) +
               " and " + dtype_name(right_type));
}

// y holds a product of operands of type `act`: it has their type, or is f32.
void check_result(const char* op, const char* name, const Tensor& y, DType act) {
  if (check_act(op, name, y) != act) check_dtype(op, name, y, DType::f32);
}

void check_groups(const char* op, const GroupOffsets& groups, const char* rows_name, const Tensor& rows,
                  const char* w_name, const Tensor& w) {
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

// x [rows, in], w [num_groups, out, in] or [out, in].
struct Sizes {
  std::int64_t rows;
  std::int64_t in;
  std::int64_t out;
  std::int64_t num_groups;
};

Sizes sizes_of(const char* op, const char* rows_name, const Tensor& rows, const char* w_name, const Tensor& w,
               bool grouped) {
  check_rank(op, rows_name, rows, 2);
  check_rank(op, w_name, w, grouped ? 3 : 2);
  check_contiguous(op, w_name, w);
  const int first = grouped ? 1 : 0;
  return {rows.size(0), w.size(first + 1), w.size(first), grouped ? w.size(0) : 1};
}

Matrix weights(const Tensor& w, std::int64_t in) {
  return {w.raw(), w.dtype(), in};
}

// The one group of a product that is not grouped.
std::array<std::int32_t, 2> one_group(const char* op, const char* name, const Tensor& x) {
  check_rank(op, name, x, 2);
  constexpr std::int64_t most = 2147483647;
  if (x.size(0) > most) {
    fail(op, "required at most " + std::to_string(most) + " rows, found " + std::to_string(x.size(0)));
  }
  return {0, static_cast<std::int32_t>(x.size(0))};
}

void forward(const char* op, const Machine& machine, In x, In w, Out y, const std::int32_t* offsets, bool grouped,
             Accumulate accumulate) {
  const Sizes s = sizes_of(op, "x", x, "w", w, grouped);
  check_shape(op, "x", x, {s.rows, s.in});
  check_shape(op, "y", y, {s.rows, s.out});
  const DType act = check_act(op, "x", x);
  if (w.dtype() != act) refuse_types(op, "x", act, "w", w.dtype());
  check_result(op, "y", y, act);
  cpu::multiply_rows(machine, {Matrix(x),
                               weights(w, s.in),
                               Matrix(y),
                               Transpose::yes,
                               s.in,
                               s.out,
                               {offsets, s.num_groups},
                               accumulate == Accumulate::yes});
}

void backward_data(const char* op, const Machine& machine, In dy, In w, Out dx, const std::int32_t* offsets,
                   bool grouped, Accumulate accumulate) {
  const Sizes s = sizes_of(op, "dy", dy, "w", w, grouped);
  check_shape(op, "dy", dy, {s.rows, s.out});
  check_shape(op, "dx", dx, {s.rows, s.in});
  const DType act = check_act(op, "w", w);
  if (check_act(op, "dy", dy) != act && dy.dtype() != DType::f32) refuse_types(op, "dy", dy.dtype(), "w", act);
  check_result(op, "dx", dx, act);
  cpu::multiply_rows(machine, {Matrix(dy),
                               weights(w, s.in),
                               Matrix(dx),
                               Transpose::no,
                               s.out,
                               s.in,
                               {offsets, s.num_groups},
                               accumulate == Accumulate::yes});
}

void backward_weight(const char* op, const Machine& machine, In x, In dy, Out dw, const std::int32_t* offsets,
                     bool grouped, Accumulate accumulate) {
  const Sizes s = sizes_of(op, "x", x, "dw", dw, grouped);
  check_shape(op, "x", x, {s.rows, s.in});
  check_shape(op, "dy", dy, {s.rows, s.out});
  check_dtype(op, "dw", dw, DType::f32);
  const DType act = check_act(op, "x", x);
  if (check_act(op, "dy", dy) != act && dy.dtype() != DType::f32) refuse_types(op, "dy", dy.dtype(), "x", act);
  cpu::multiply_weights(
      machine,
      {Matrix(x), Matrix(dy), dw.data<float>(), s.in, s.out, {offsets, s.num_groups}, accumulate == Accumulate::yes});
}

}  // namespace

cpu::Machine CpuBackend::machine() {
  return {pool_, gemm_, isa_, [this](int worker, int slot, std::int64_t n) { return scratch(worker, slot, n); }};
}

void CpuBackend::linear(In x, In w, Out y, Accumulate accumulate) {
  const auto rows = one_group("linear", "x", x);
  forward("linear", machine(), x, w, y, rows.data(), false, accumulate);
}

void CpuBackend::linear_backward_data(In dy, In w, Out dx, Accumulate accumulate) {
  const auto rows = one_group("linear_backward_data", "dy", dy);
  backward_data("linear_backward_data", machine(), dy, w, dx, rows.data(), false, accumulate);
}

void CpuBackend::linear_backward_weight(In x, In dy, Out dw, Accumulate accumulate) {
  const auto rows = one_group("linear_backward_weight", "x", x);
  backward_weight("linear_backward_weight", machine(), x, dy, dw, rows.data(), false, accumulate);
}

void CpuBackend::grouped_linear(In x, const GroupOffsets& groups, In w, Out y, Accumulate accumulate) {
  check_groups("grouped_linear", groups, "x", x, "w", w);
  forward("grouped_linear", machine(), x, w, y, groups.host.data(), true, accumulate);
}

void CpuBackend::grouped_linear_backward_data(In dy, const GroupOffsets& groups, In w, Out dx, Accumulate accumulate) {
  check_groups("grouped_linear_backward_data", groups, "dy", dy, "w", w);
  backward_data("grouped_linear_backward_data", machine(), dy, w, dx, groups.host.data(), true, accumulate);
}

void CpuBackend::grouped_linear_backward_weight(In x, In dy, const GroupOffsets& groups, Out dw,
                                                Accumulate accumulate) {
  check_groups("grouped_linear_backward_weight", groups, "x", x, "dw", dw);
  backward_weight("grouped_linear_backward_weight", machine(), x, dy, dw, groups.host.data(), true, accumulate);
}

}  // namespace artel
