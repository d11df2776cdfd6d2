// Weights are [out, in]; a product that is not grouped has one group. dy of f32 with weights of bf16 goes through three
// parts of bf16 that add up to it (split_rows), for which the sum over `out` is three times as long.

#include "kernels/checks/linear.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "kernels/checks/checks.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/gemm.h"

namespace artel {
namespace {

using cuda::GemmCall;

constexpr int parts_slot = 0;
constexpr int weights_slot = 1;
constexpr int pointers_slot = 2;

// `data` moved on by `elements`.
const void* at(const Tensor& t, std::int64_t elements) {
  return static_cast<const char*>(t.raw()) + elements * static_cast<std::int64_t>(dtype_size(t.dtype()));
}
void* result_at(const Tensor& t, std::int64_t elements) {
  return static_cast<char*>(t.raw()) + elements * static_cast<std::int64_t>(dtype_size(t.dtype()));
}

// y [rows, n] = or += x [rows, k] · w[g] for the groups that have rows; w[g] is [n, k] if transposed, else [k, n].
std::vector<GemmCall> products(In x, In w, Out y, std::int64_t k, std::int64_t n, bool transpose_w,
                               std::span<const std::int32_t> offsets, Accumulate accumulate) {
  std::vector<GemmCall> gemms;
  for (std::size_t g = 0; g + 1 < offsets.size(); ++g) {
    const std::int64_t begin = offsets[g];
    const std::int64_t rows = offsets[g + 1] - begin;
    if (rows == 0) continue;
    gemms.push_back({.a = at(x, begin * x.row_stride()),
                     .b = at(w, static_cast<std::int64_t>(g) * n * k),
                     .c = result_at(y, begin * y.row_stride()),
                     .m = rows,
                     .n = n,
                     .k = k,
                     .lda = x.row_stride(),
                     .ldb = transpose_w ? k : n,
                     .ldc = y.row_stride(),
                     .transpose_b = transpose_w,
                     .in = w.dtype(),
                     .out = y.dtype(),
                     .accumulate = accumulate == Accumulate::yes});
  }
  return gemms;
}

}  // namespace

void CudaBackend::multiply_all(const char* op, const std::vector<GemmCall>& gemms) {
  const cuda::GemmMachine machine{cublas(), stream_};
  const bool group = gemms.size() > 1 && std::all_of(gemms.begin(), gemms.end(), cuda::can_group);
  if (group) {
    auto* const pointers = scratch_of<void*>(pointers_slot, 3 * static_cast<std::int64_t>(gemms.size()));
    cuda::multiply_grouped(op, machine, *uploads_, pointers, gemms);
  } else {
    for (const GemmCall& gemm : gemms) cuda::multiply(op, machine, gemm);
  }
}

void CudaBackend::multiply_split(const char* op, In dy, std::int64_t out, std::vector<GemmCall> gemms) {
  auto* const parts = scratch_of<__nv_bfloat16>(parts_slot, 3 * dy.numel());
  cuda::split_rows(op, stream_, dy, parts);
  const cuda::GemmMachine machine{cublas(), stream_};
  for (GemmCall& gemm : gemms) {
    const std::int64_t in = gemm.n;
    const std::size_t bytes = static_cast<std::size_t>(out * in) * sizeof(__nv_bfloat16);
    auto* const weights = scratch_of<char>(weights_slot, 3 * static_cast<std::int64_t>(bytes));
    for (std::size_t part = 0; part < 3; ++part) {
      cuda::check(op, "cudaMemcpyAsync",
                  cudaMemcpyAsync(weights + part * bytes, gemm.b, bytes, cudaMemcpyDeviceToDevice, stream_));
    }
    const std::int64_t first_row = (static_cast<const float*>(gemm.a) - dy.data<float>()) / gemm.lda;
    gemm.a = parts + first_row * 3 * out;
    gemm.lda = 3 * out;
    gemm.b = weights;
    gemm.k = 3 * out;
    cuda::multiply(op, machine, gemm);
  }
}

void CudaBackend::linear(In x, In w, Out y, Accumulate accumulate) {
  const auto offsets = one_group("linear", "x", x);
  const ProductSizes s = check_linear("linear", x, w, y, false);
  multiply_all("linear", products(x, w, y, s.in, s.out, true, offsets, accumulate));
}

void CudaBackend::linear_backward_data(In dy, In w, Out dx, Accumulate accumulate) {
  backward_data("linear_backward_data", dy, w, dx, one_group("linear_backward_data", "dy", dy), false, accumulate);
}

void CudaBackend::grouped_linear(In x, const GroupOffsets& groups, In w, Out y, Accumulate accumulate) {
  check_groups("grouped_linear", groups, "x", x, "w", w);
  const ProductSizes s = check_linear("grouped_linear", x, w, y, true);
  multiply_all("grouped_linear", products(x, w, y, s.in, s.out, true, groups.host, accumulate));
}

void CudaBackend::grouped_linear_backward_data(In dy, const GroupOffsets& groups, In w, Out dx, Accumulate accumulate) {
  check_groups("grouped_linear_backward_data", groups, "dy", dy, "w", w);
  backward_data("grouped_linear_backward_data", dy, w, dx, groups.host, true, accumulate);
}

void CudaBackend::backward_data(const char* op, In dy, In w, Out dx, std::span<const std::int32_t> offsets,
                                bool grouped, Accumulate accumulate) {
  const ProductSizes s = check_linear_backward_data(op, dy, w, dx, grouped);
  std::vector<GemmCall> gemms = products(dy, w, dx, s.out, s.in, false, offsets, accumulate);
  if (dy.dtype() == w.dtype() || s.out == 0) {
    multiply_all(op, gemms);
  } else {
    multiply_split(op, dy, s.out, std::move(gemms));
  }
}

}  // namespace artel
