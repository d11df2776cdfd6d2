#pragma once

#include <string>

#include "nn/kv_cache.h"
#include "nn/parameter.h"
#include "ops/ops.h"

// Layers declare their parameters in a store when built and compute once the store is allocated.
// Shapes: T tokens · d hidden_size · H, J query and key/value heads · h head_dim.

namespace artel {

/// Declares the parameter behind one whole stored tensor `name` [rows, columns] or [rows]; vectors are norms: ones, no
/// decay.
Parameter& declare_whole(ParameterStore& store, const std::string& name, const Shape& shape);

/// y [T, out] = x [T, in] · weight^T.
class Linear {
 public:
  Linear(ParameterStore& store, const std::string& name, std::int64_t out_features, std::int64_t in_features);
  Variable forward(Context& context, const Variable& x) const { return linear(context, x, weight_.variable); }
  Variable forward(Context& context, const Variable& x, DType dtype) const {
    return linear(context, x, weight_.variable, dtype);
  }
  const Parameter& weight() const { return weight_; }

 private:
  Parameter& weight_;
};

class RmsNorm {
 public:
  RmsNorm(ParameterStore& store, const std::string& name, std::int64_t size, double eps);
  /// sum = x + delta, normalised; delta may be undefined.
  NormResult forward(Context& context, const Variable& x, const Variable& delta) const {
    return add_rms_norm(context, x, delta, weight_.variable, eps_);
  }
  const Variable& weight() const { return weight_.variable; }

 private:
  Parameter& weight_;
  float eps_;
};

struct AttentionOptions {
  std::int64_t hidden_size = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  bool qk_norm = false;
  double rms_norm_eps = 1.0e-5;
};

/// Causal self-attention with grouped queries and rotary positions; queries, keys and values from one product.
class Attention {
 public:
  /// Names: prefix + "{q,k,v,o}_proj.weight" (+ "{q,k}_norm.weight").
  Attention(ParameterStore& store, const std::string& prefix, const AttentionOptions& options);
  /// x [T, d] of num_sequences equally long sequences -> [T, d]. cos_sin [sequence length, h] from rope_table.
  /// document_starts [T] i32 (AttentionShape), or undefined.
  Variable forward(Context& context, const Variable& x, std::int64_t num_sequences, const Tensor& cos_sin,
                   const Tensor& document_starts) const;
  /// x [T, d] of the tokens that follow those of the cache, which takes their keys and values in as `layer`; without a
  /// gradient. cos_sin [C, h].
  Variable forward(Context& context, const Variable& x, const Tensor& cos_sin, const KvCache& cache,
                   std::int64_t layer) const;

 private:
  /// Queries, keys and values [T, H + 2J, h] at the positions of cos_sin [sequence length, h].
  Variable rotated(Context& context, const Variable& x, const AttentionShape& shape, const Tensor& cos_sin) const;

  AttentionOptions options_;
  Parameter& qkv_;
  Linear output_;
  Parameter* q_norm_ = nullptr;
  Parameter* k_norm_ = nullptr;
};

/// SwiGLU feed-forward of one width: the dense FFN and the real shared expert. Gate and up from one product.
class Mlp {
 public:
  /// Names: prefix + "{gate,up,down}_proj.weight".
  Mlp(ParameterStore& store, const std::string& prefix, std::int64_t hidden_size, std::int64_t width);
  Variable forward(Context& context, const Variable& x) const;

 private:
  std::int64_t width_;
  Parameter& gate_up_;
  Linear down_;
};

}  // namespace artel
