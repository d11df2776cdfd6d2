#pragma once

#include <cstdint>
#include <memory>

#include "core/dtype.h"

namespace artel::cpu {

enum class Transpose : bool { no, yes };

/// One product on one thread: C [m, n] = or += op(A) [m, k] · op(B) [k, n], row-major, leading dimensions in elements.
/// The memory behind `a` is [m, k] or, transposed, [k, m]; behind `b` [k, n] or [n, k].
struct GemmTile {
  Transpose transpose_a = Transpose::no;
  Transpose transpose_b = Transpose::no;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t lda = 0;
  std::int64_t ldb = 0;
  std::int64_t ldc = 0;
  bool accumulate = false;
};

/// Matrix products on the calling thread alone. The library behind it (oneDNN) keeps its own per-thread settings: call
/// prepare_thread() once on every thread that will multiply.
class Gemm {
 public:
  /// Errors: a build without oneDNN.
  Gemm();
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  static void prepare_thread();
  bool has_native_bf16() const;

  /// f32 inputs and output.
  void multiply(const GemmTile& tile, const float* a, const float* b, float* c) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace artel::cpu
