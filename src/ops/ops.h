#pragma once

#include "ops/tape.h"

// Shapes: T tokens · d hidden_size · V vocab_size · E width · H, J query and key/value heads · h head_dim · Q sequence
// length. Every operation computes, and under a tape records a closure that calls the backward kernel of the same name.
// "act" is the activation type. Weights are [out, in] parameters of that type with f32 gradients.

namespace artel {

/// y [T, d] = table[ids]; table [V, d], ids [T] i32.
Variable embedding(Context& context, const Variable& table, const Tensor& ids);

struct NormResult {
  Variable sum;         ///< [T, d] x + delta
  Variable normalised;  ///< [T, d]
};
/// The residual addition and the RMSNorm behind it (Zhang & Sennrich, NeurIPS 2019): sum = x + delta, normalised = sum
/// / rms(sum) · weight. x, delta [T, d]; an undefined delta is zero. weight [d].
NormResult add_rms_norm(Context& context, const Variable& x, const Variable& delta, const Variable& weight, float eps);

/// y [T, out] of `dtype` = x [T, in] · weight^T.
Variable linear(Context& context, const Variable& x, const Variable& weight, DType dtype);
inline Variable linear(Context& context, const Variable& x, const Variable& weight) {
  return linear(context, x, weight, x.data.dtype());
}

/// cos_sin [Q, h] f32 for rope: h/2 cosines, then h/2 sines of position · theta^(-2i/h). Su et al., arXiv 2104.09864.
Tensor rope_table(Context& context, std::int64_t sequence_length, std::int64_t head_dim, double theta);

/// Rotary positions on the query and key heads of qkv [T, H + 2J, h]; q_norm, k_norm [h] (both or neither) normalise
/// every head first.
Variable rope(Context& context, const Variable& qkv, const Tensor& cos_sin, const AttentionShape& shape,
              const Variable& q_norm, const Variable& k_norm, float eps);

/// y [T, H·h] = causal attention over qkv [T, H + 2J, h].
Variable attention(Context& context, const Variable& qkv, const AttentionShape& shape);

/// y [T, H·h] = attention of the queries of qkv [T, H + 2J, h], tokens past .. past + T - 1 of one sequence, to the
/// keys and values of cache [C, 2J, h], which holds their own too. For generation: nothing is recorded.
Variable cached_attention(Context& context, const Variable& qkv, const Tensor& cache, const AttentionShape& shape,
                          std::int64_t past);

/// hidden [A, E] = weights · SiLU(gate) · up for gate_up [A, 2, E]; weights [A] f32 or undefined; not kept
/// for backward but made again. Shazeer, arXiv 2002.05202.
Variable swiglu(Context& context, const Variable& gate_up, const Variable& weights);

/// Tokens whose logits exist at a time: enough for products to run at full speed, few enough for the cache of a core
/// or, on a GPU, for its memory.
std::int64_t rows_of_logits(Device device, std::int64_t vocab_size);

/// Sum over tokens of the next-token cross-entropy of x [T, d] · weight^T (weight [V, d]) against targets [T] i32, in
/// nats: f64 [1], times nothing. The logits exist for a chunk of tokens at a time. Under a tape the gradients are made
/// at once, scaled by `grad_scale` (1 / tokens of the step): dx is kept, the weight's is added to its arena. The result
/// is therefore a root: seed it with 1 (backward's default) and nothing else.
Variable linear_cross_entropy(Context& context, const Variable& x, const Variable& weight, const Tensor& targets,
                              float grad_scale);

/// losses [T] f32: the same cross-entropies one by one, without gradients.
Tensor token_cross_entropy(Context& context, const Tensor& x, const Tensor& weight, const Tensor& targets);

}  // namespace artel
