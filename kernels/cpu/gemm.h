#pragma once

#include <compare>
#include <cstdint>
#include <memory>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

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

/// Who multiplies, with which memory: `workspace` must hold Gemm::workspace_floats of the product.
struct GemmWorker {
  int index = 0;  ///< below num_workers of the Gemm; only one thread at a time may use an index
  float* workspace = nullptr;
};

/// Matrix products on the calling thread alone. The library behind it (oneDNN) keeps its own per-thread settings: call
/// prepare_thread() once on every thread that will multiply or prepare products.
class Gemm {
 public:
  /// Errors: a build without oneDNN.
  explicit Gemm(int num_workers = 1);
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
  /// Whether what pack() writes for one serves the other.
  static bool same_packed_form(const Bf16Product& a, const Bf16Product& b);
  /// Floats that `packed` and `workspace` must hold.
  static std::int64_t packed_floats(const Bf16Product& product);
  static std::int64_t workspace_floats(const Bf16Product& product);
  /// Parts in which pack() can be done, side by side.
  static std::int64_t num_packing_parts(const Bf16Product& product);
  /// Brings a part of B into the packed form. Source and shape as in Bf16Shape::tile; `packed` is the whole of it.
  void pack(const Bf16Product& product, Isa isa, const bf16* b, float* packed, std::int64_t part,
            const GemmWorker& worker) const;
  /// C = or += A · B. `b` is bf16, or what pack() wrote; `c` as in Bf16Shape::c_type.
  void multiply(const Bf16Product& product, const bf16* a, const void* b, void* c, const GemmWorker& worker) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace artel::cpu
