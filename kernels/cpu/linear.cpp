// Weights are [out, in]; a product that is not grouped has one group.

#include "kernels/checks/linear.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/products.h"

namespace artel {
namespace {

using cpu::Machine;
using cpu::Matrix;
using cpu::Transpose;

Matrix weights(const Tensor& w, std::int64_t in) {
  return {w.raw(), w.dtype(), in};
}

void forward(const char* op, const Machine& machine, In x, In w, Out y, const std::int32_t* offsets, bool grouped,
             Accumulate accumulate) {
  const ProductSizes s = check_linear(op, x, w, y, grouped);
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
  const ProductSizes s = check_linear_backward_data(op, dy, w, dx, grouped);
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
  const ProductSizes s = check_linear_backward_weight(op, x, dy, dw, grouped);
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
