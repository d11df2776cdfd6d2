#pragma once

#include <array>
#include <cstdint>

#include "kernels/cpu/products.h"

namespace artel::cpu {

/// The row products of bf16 operands on units made for them: put together from products of a few fixed heights, with
/// weights that are packed once. The last rows of a group are completed to the smallest height in scratch.
class NativeRows {
 public:
  /// Fewer rows of a group than this are not worth packing its weights.
  static constexpr std::int64_t least_rows = 64;

  /// Packs the weights on all threads. The arguments must outlive it.
  NativeRows(const Machine& machine, const RowProduct& product, const Blocks& columns);

  /// Rows begin .. end-1 of a group, in a block of columns. False, and nothing done: not to be had here.
  bool multiply(std::int64_t group, std::int64_t block, std::int64_t begin, std::int64_t end, int worker) const;

 private:
  static constexpr std::array<std::int64_t, 4> heights = {256, 128, least_rows, 16};
  static constexpr std::size_t base = 2;  // of heights: the product that decides on the packed form
  using Products = std::array<const Bf16Product*, heights.size()>;

  void pack(std::int64_t index, std::int64_t part, int worker) const;
  void multiply_few(const Bf16Product& product, const float* packed, std::int64_t begin, std::int64_t num_rows,
                    std::int64_t height, std::int64_t block, int worker) const;
  const Products& products(std::int64_t block) const { return products_[block == columns_.num - 1 ? 1 : 0]; }

  const Machine& machine_;
  const RowProduct& p_;
  const Blocks& columns_;
  std::array<Products, 2> products_{};  // of the equal blocks of columns, of the last
  float* packed_ = nullptr;
  std::int64_t stride_ = 0;     // floats between packed blocks of columns
  std::int64_t num_parts_ = 0;  // of the packing of each
};

/// The same for gradients of weights. A product takes all columns of x, and of dy too where they are not many: the
/// library is fastest without gaps in its operands.
class NativeWeights {
 public:
  static constexpr std::int64_t block_out = 512;  ///< rows of dw of one product
  static constexpr std::int64_t piece = 64;       ///< rows are completed to a multiple with zeros

  NativeWeights(const Machine& machine, const WeightProduct& product);

  bool usable() const { return usable_; }
  /// Rows out .. of `target` [.., in], a block of dw or of a partial sum, = or += dy^T · x over the rows begin ..
  /// end-1.
  void multiply(std::int64_t out, float* target, std::int64_t begin, std::int64_t end, bool accumulate,
                int worker) const;

 private:
  static constexpr std::int64_t most_pieces = 8;

  // Of pieces from the operands themselves, or (`copied`) from copies of the block's columns without gaps.
  const Bf16Product* prepare(std::int64_t block, std::int64_t pieces, bool accumulate, bool copied) const;
  // The rows begin .. end-1 and num_columns columns from `column` on, zeros below them up to num_rows, in scratch.
  const bf16* completed(const Matrix& matrix, std::int64_t column, std::int64_t num_columns, std::int64_t begin,
                        std::int64_t end, std::int64_t num_rows, int slot, int worker) const;

  const Machine& machine_;
  const WeightProduct& p_;
  Blocks blocks_;
  bool usable_ = false;
};

}  // namespace artel::cpu
