#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

/// The right operand of a bf16 product, B [k, n], as processors with such products want it: pairs of neighbours along k
/// side by side. packed [n / block][k / 32][16][block][2], completed with zeros.
struct PackingRows {
  static constexpr std::int64_t block_k = 32;

  /// Blocks first .. last-1 of `block` columns each (a multiple of 16). B is [k, n], or [n, k] under `transposed`, with
  /// rows ld elements apart; `packed` is the whole of it.
  void (*pack)(const bf16* b, std::int64_t ld, bool transposed, std::int64_t k, std::int64_t n, std::int64_t block,
               std::int64_t first, std::int64_t last, bf16* packed);
};

ARTEL_DECLARE_ROWS(PackingRows, packing_rows)

}  // namespace artel::cpu
