#pragma once

#include <array>
#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/tile_product.h"

namespace artel::cpu {

// The products of attention between blocks of queries and blocks of keys: of f32 copies, or of bf16 on units made for
// them. n stands for a number of keys, m for one of queries; x, keys and out are of one head, [.., head_dim] with rows
// ld() apart; scores and probabilities are [m, n] with rows score_ld(n) apart.

inline constexpr std::int64_t query_block = 64;  ///< queries of a block at most
inline constexpr std::int64_t key_block = 256;   ///< keys of a block at most

class F32Blocks {
 public:
  using Value = float;  ///< of the operands

  F32Blocks(const Gemm& gemm, std::int64_t head_dim) : gemm_(gemm), head_dim_(head_dim) {}

  std::int64_t ld() const { return padded_ld(head_dim_); }
  static constexpr std::int64_t score_ld(std::int64_t) { return key_block + 16; }
  /// The number of rows or columns that the products take for n: what lies between must be zeros.
  static std::int64_t completed(std::int64_t n) { return n; }
  /// Floats that the worker's workspace must hold.
  static std::int64_t workspace_floats() { return 0; }

  /// scores = x · keys^T.
  void by_keys(const float* x, std::int64_t m, const float* keys, std::int64_t n, float* scores,
               const GemmWorker& worker) const;
  /// out [m] += probabilities · keys.
  void by_scores(const float* probabilities, std::int64_t m, const float* keys, std::int64_t n, float* out,
                 const GemmWorker& worker) const;
  /// out [n] += probabilities^T · x.
  void by_transposed(const float* probabilities, std::int64_t m, const float* x, std::int64_t n, float* out,
                     const GemmWorker& worker) const;

 private:
  const Gemm& gemm_;
  std::int64_t head_dim_;
};

/// Probabilities and their gradients are rounded to bf16 before they are multiplied; sums are f32.
class Bf16Blocks {
 public:
  using Value = bf16;

  Bf16Blocks(const Gemm& gemm, std::int64_t head_dim);

  /// Whether the processor and the library have these products.
  bool usable() const { return usable_; }

  std::int64_t ld() const { return head_dim_; }
  static constexpr std::int64_t score_ld(std::int64_t n) { return completed(n); }
  static constexpr std::int64_t completed(std::int64_t n) { return (n + query_block - 1) / query_block * query_block; }
  std::int64_t workspace_floats() const { return workspace_floats_; }

  void by_keys(const bf16* x, std::int64_t m, const bf16* keys, std::int64_t n, float* scores,
               const GemmWorker& worker) const;
  void by_scores(const bf16* probabilities, std::int64_t m, const bf16* keys, std::int64_t n, float* out,
                 const GemmWorker& worker) const;
  void by_transposed(const bf16* probabilities, std::int64_t m, const bf16* x, std::int64_t n, float* out,
                     const GemmWorker& worker) const;

 private:
  using Products = std::array<const Bf16Product*, key_block / query_block>;  // by the number of keys
  static const Bf16Product& of(const Products& products, std::int64_t n);

  const Gemm& gemm_;
  std::int64_t head_dim_;
  Products by_keys_{}, by_scores_{}, by_transposed_{};
  std::int64_t workspace_floats_ = 0;
  bool usable_ = false;
};

}  // namespace artel::cpu
