#pragma once

#include <compare>
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

  auto operator<=>(const GemmTile&) const = default;  // NOLINT(modernize-use-nullptr): the check misreads "<=>"
};

/// What a product of bf16 operands is prepared for: A and B bf16, C f32 or bf16 (rounded once, after adding).
struct Bf16Shape {
  GemmTile tile;
  DType c_type = DType::f32;
  bool pack_b = false;  ///< B is brought once into the form that the processor likes (pack) and then used many times

  auto operator<=>(const Bf16Shape&) const = default;  // NOLINT(modernize-use-nullptr)
};

/// A product of bf16 operands made ready for one shape; belongs to the Gemm that made it.
class Bf16Product;

/// Matrix products on the calling thread alone. The library behind it (oneDNN) keeps its own per-thread settings: call
/// prepare_thread() once on every thread that will multiply or prepare products.
class Gemm {
 public:
  /// Errors: a build without oneDNN.
  Gemm();
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  static void prepare_thread();

  /// f32 inputs and output. Dimensions of 0 are allowed: k = 0 stores zeros or adds nothing.
  void multiply(const GemmTile& tile, const float* a, const float* b, float* c) const;

  /// Whether bf16 products run on units made for them, and were right when tried at construction. Only then may the
  /// methods below be called.
  bool has_native_bf16() const;
  /// The product for this shape; made on first use (about a millisecond), then looked up. Shapes must come from fixed
  /// tiles, never from a number of tokens: the products are kept. Null where the library has only plain loops for it.
  const Bf16Product* prepare(const Bf16Shape& shape) const;
  /// How many have been made so far.
  std::int64_t num_prepared() const;
  /// Floats that `packed` and `workspace` must hold.
  static std::int64_t packed_floats(const Bf16Product& product);
  static std::int64_t workspace_floats(const Bf16Product& product);
  /// Brings B into the packed form. Source and shape as in Bf16Shape::tile.
  void pack(const Bf16Product& product, const bf16* b, float* packed, float* workspace) const;
  /// C = or += A · B. `b` is bf16, or what pack() wrote; `c` as in Bf16Shape::c_type.
  void multiply(const Bf16Product& product, const bf16* a, const void* b, void* c, float* workspace) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace artel::cpu
