#pragma once

#include <cublas_v2.h>
#include <cuda_bf16.h>

#include <cstddef>
#include <vector>

#include "emulator/runtime_support.h"

// What the tests of cuBLAS share.
namespace emulator_tests {

class Handle {
 public:
  explicit Handle(cudaStream_t stream) {
    REQUIRE(cublasCreate(&handle_) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(cublasSetStream(handle_, stream) == CUBLAS_STATUS_SUCCESS);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { cublasDestroy(handle_); }
  operator cublasHandle_t() const { return handle_; }

 private:
  cublasHandle_t handle_ = nullptr;
};

template <class T>
constexpr cudaDataType type_of = sizeof(T) == 2   ? CUDA_R_16BF
                                 : sizeof(T) == 4 ? CUDA_R_32F
                                                  : CUDA_R_64F;

inline double number(float x) {
  return static_cast<double>(x);
}
inline double number(double x) {
  return x;
}
inline double number(__nv_bfloat16 x) {
  return static_cast<double>(__bfloat162float(x));
}
template <class T>
T element(double x) {
  if constexpr (sizeof(T) == 2) {
    return __float2bfloat16(static_cast<float>(x));
  } else {
    return static_cast<T>(x);
  }
}

/// Small whole numbers, whose products and sums every type holds.
template <class T>
std::vector<T> numbers(std::size_t size, int seed) {
  std::vector<T> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = element<T>((static_cast<int>(i) * 7 + seed) % 5 - 2);
  return values;
}

/// Column-major operands of one product with leading dimensions larger than they need to be.
struct Shape {
  bool transpose_a;
  bool transpose_b;
  int m, n, k;
  int lda() const { return (transpose_a ? k : m) + 3; }
  int ldb() const { return (transpose_b ? n : k) + 2; }
  int ldc() const { return m + 1; }
  std::size_t size_a() const { return static_cast<std::size_t>(lda() * (transpose_a ? m : k)); }
  std::size_t size_b() const { return static_cast<std::size_t>(ldb() * (transpose_b ? k : n)); }
  std::size_t size_c() const { return static_cast<std::size_t>(ldc() * n); }
  cublasOperation_t op_a() const { return transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N; }
  cublasOperation_t op_b() const { return transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N; }
};

/// alpha * op(a) * op(b) + beta * c at (i, j).
template <class In, class Out>
double expected(const Shape& s, const std::vector<In>& a, const std::vector<In>& b, const std::vector<Out>& c, int i,
                int j, double alpha, double beta) {
  double sum = 0;
  for (int q = 0; q < s.k; ++q) {
    const int at_a = s.transpose_a ? q + i * s.lda() : i + q * s.lda();
    const int at_b = s.transpose_b ? j + q * s.ldb() : q + j * s.ldb();
    sum += number(a[static_cast<std::size_t>(at_a)]) * number(b[static_cast<std::size_t>(at_b)]);
  }
  const double old = beta == 0 ? 0 : beta * number(c[static_cast<std::size_t>(i + j * s.ldc())]);
  return alpha * sum + old;
}

}  // namespace emulator_tests
