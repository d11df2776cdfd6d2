#pragma once

#include "kernels/backend.h"
#include "support/reference/types.h"

namespace artel::reference {

/// cos_sin [Q, h]: h/2 cosines, then h/2 sines of position · theta^(-2i/h).
Vector rope_table(std::size_t sequence_length, std::size_t head_dim, double theta);

/// document_starts of AttentionShape, of every token; empty: 0. The shape's own tensor is not read.
using Starts = std::vector<std::int32_t>;

struct Rope {
  Vector y;     ///< [T, H + 2J, h]
  Vector rstd;  ///< [T, H + J], empty without norms
};
struct RopeGradients {
  Vector dqkv;              ///< [T, H + 2J, h]
  Vector dq_norm, dk_norm;  ///< [h], empty without norms
};
/// Query and key heads of qkv [T, H + 2J, h] are normed (if q_norm and k_norm [h] are given) and rotated in pairs
/// (i, i + h/2) by the position's angle; value heads pass.
Rope rope(const Vector& qkv, const Vector& cos_sin, const AttentionShape& shape, const Vector& q_norm,
          const Vector& k_norm, double eps, const Starts& starts = {});
RopeGradients rope_backward(const Vector& dy, const Vector& cos_sin, const AttentionShape& shape, const Vector& qkv,
                            const Vector& q_norm, const Vector& k_norm, double eps, const Starts& starts = {});

struct Attention {
  Vector y;    ///< [T, H, h]
  Vector lse;  ///< [B, H, Q]
};
/// What becomes of the terms of the sums over positions before they are added.
using Term = double (*)(double);
inline double term_itself(double term) {
  return term;
}
inline double term_magnitude(double term) {
  return std::abs(term);
}

/// Causal attention over qkv [T, H + 2J, h], scores scaled by 1/sqrt(h); query head i reads key/value head i / (H/J).
Attention attention(const Vector& qkv, const AttentionShape& shape, Term term = term_itself, const Starts& starts = {});
/// dqkv [T, H + 2J, h]; y [T, H, h] is the output as stored.
Vector attention_backward(const Vector& qkv, const Vector& y, const Vector& dy, const AttentionShape& shape,
                          Term term = term_itself, const Starts& starts = {});

}  // namespace artel::reference
