#include "kernels/cpu/rows/packing.h"

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

constexpr std::int64_t num_pairs = PackingRows::block_k / 2;

/// B [k, n] behind its two layouts.
template <bool transposed>
struct Source {
  const bf16* b;
  std::int64_t ld;
  std::int64_t k;
  std::int64_t n;

  const bf16* at(std::int64_t row, std::int64_t column) const {
    return transposed ? b + column * ld + row : b + row * ld + column;
  }
  bf16 value(std::int64_t row, std::int64_t column) const { return row < k && column < n ? *at(row, column) : bf16{}; }
};

/// `width` pairs of rows from `row` on, `width` columns from `column` on; `to` [pairs, block, 2].
template <bool transposed>
void pack_square(const Source<transposed>& from, std::int64_t row, std::int64_t column, bf16* to, std::int64_t block) {
  vfloat pairs[width];
  for (int i = 0; i < width; ++i) {
    if (transposed) {
      __builtin_memcpy(&pairs[i], from.at(row, column + i), sizeof pairs[i]);
    } else {
      pairs[i] = load_pairs(from.at(row + 2 * i, column), from.at(row + 2 * i + 1, column));
    }
  }
  if (transposed) transpose_block(pairs);
  for (int i = 0; i < width; ++i) __builtin_memcpy((void*)(to + i * block * 2), &pairs[i], sizeof pairs[i]);
}

/// Rows row .. row+31, columns column .. column+block-1.
template <bool transposed>
void pack_block(const Source<transposed>& from, std::int64_t row, std::int64_t column, bf16* to, std::int64_t block) {
  for (std::int64_t pair = 0; pair < num_pairs; pair += width) {
    for (std::int64_t c = 0; c < block; c += width) {
      bf16* const square = to + (pair * block + c) * 2;
      const std::int64_t first = row + 2 * pair;
      if (first + 2 * width <= from.k && column + c + width <= from.n) {
        pack_square(from, first, column + c, square, block);
        continue;
      }
      for (std::int64_t i = 0; i < width * width; ++i) {
        const std::int64_t p = i / width, lane = i % width;
        square[(p * block + lane) * 2] = from.value(first + 2 * p, column + c + lane);
        square[(p * block + lane) * 2 + 1] = from.value(first + 2 * p + 1, column + c + lane);
      }
    }
  }
}

template <bool transposed>
void pack_blocks(const Source<transposed>& from, std::int64_t block, std::int64_t first, std::int64_t last, bf16* to) {
  const std::int64_t num_rows = (from.k + PackingRows::block_k - 1) / PackingRows::block_k;
  to += first * num_rows * PackingRows::block_k * block;
  for (std::int64_t i = first; i < last; ++i) {
    for (std::int64_t r = 0; r < num_rows; ++r, to += PackingRows::block_k * block) {
      pack_block(from, r * PackingRows::block_k, i * block, to, block);
    }
  }
}

void pack(const bf16* b, std::int64_t ld, bool transposed, std::int64_t k, std::int64_t n, std::int64_t block,
          std::int64_t first, std::int64_t last, bf16* packed) {
  if (transposed) {
    pack_blocks(Source<true>{b, ld, k, n}, block, first, last, packed);
  } else {
    pack_blocks(Source<false>{b, ld, k, n}, block, first, last, packed);
  }
}

}  // namespace

extern const PackingRows packing_rows;
const PackingRows packing_rows = {pack};

}  // namespace artel::cpu::ARTEL_ISA
