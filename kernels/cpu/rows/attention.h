#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

/// A block of scores [rows, num_keys], rows `ld` elements apart, as it comes from the product of queries and keys. Row
/// r sees the first first_visible + r keys of the block, all of them at most, none if that is negative; with `starts`
/// only those from starts[r] - first_key on, which may be none. The columns from num_keys up to num_columns are filled
/// with zeros; ld leaves room for num_columns rounded up to a multiple of 16, beyond which nothing is written.
struct ScoreBlock {
  const float* scores;
  std::int64_t ld;
  std::int64_t rows;
  std::int64_t num_keys;
  std::int64_t num_columns;
  std::int64_t first_visible;
  float scale;
  const std::int32_t* starts;  ///< [rows], or null: every row sees the block's first key
  std::int64_t first_key;      ///< position of the block's first key, as `starts` counts
};

/// Probabilities and their gradients are written as P (float or bf16), operands of the next products, in the layout of
/// the scores, and may take their place. Rows of out, dy and y lie `ld` elements apart.
template <class P>
struct AttentionRows {
  /// Softmax over blocks of keys that come one after the other: p = exp(scale·scores - max), 0 where not visible, with
  /// max [rows] the largest so far; sum [rows] += their sum; what was summed before, sum and out [rows, head_dim], is
  /// brought to the new max. Before the first block max is -infinity, sum and out are 0.
  void (*softmax)(const ScoreBlock& block, P* p, float* max, float* sum, float* out, std::int64_t ld,
                  std::int64_t head_dim);
  /// out /= sum; lse [rows] = max + log(sum).
  void (*finish)(std::int64_t rows, const float* max, const float* sum, float* out, std::int64_t ld,
                 std::int64_t head_dim, float* lse);
  /// delta [rows] = <dy, y>, both [rows, head_dim].
  void (*delta)(std::int64_t rows, const P* dy, const P* y, std::int64_t ld, std::int64_t head_dim, float* delta);
  /// p = exp(scale·scores - lse), 0 where not visible; ds = p·(dprobs - delta)·scale. dprobs has the layout of the
  /// scores.
  void (*gradient)(const ScoreBlock& block, const float* lse, const float* delta, const float* dprobs, P* p, P* ds);
};

using AttentionRowsF32 = AttentionRows<float>;
using AttentionRowsBf16 = AttentionRows<bf16>;
ARTEL_DECLARE_ROWS(AttentionRowsF32, attention_rows_f32)
ARTEL_DECLARE_ROWS(AttentionRowsBf16, attention_rows_bf16)

}  // namespace artel::cpu
