#include "nn/layers.h"

#include "kernels/backend.h"

namespace artel {
namespace {

Parameter& declare_stacked(ParameterStore& store, const std::string& name, const Shape& shape,
                           std::vector<StoredSlice> slices) {
  Parameter parameter;
  parameter.name = name;
  parameter.shape = shape;
  parameter.slices = std::move(slices);
  return store.declare(std::move(parameter));
}

Parameter& declare_qkv(ParameterStore& store, const std::string& prefix, const AttentionOptions& options) {
  const Shape q{options.num_heads * options.head_dim, options.hidden_size};
  const Shape kv{options.num_kv_heads * options.head_dim, options.hidden_size};
  return declare_stacked(store, prefix + "qkv_proj.weight", {q[0] + 2 * kv[0], options.hidden_size},
                         {whole_slice(prefix + "q_proj.weight", q), whole_slice(prefix + "k_proj.weight", kv),
                          whole_slice(prefix + "v_proj.weight", kv)});
}

}  // namespace

Parameter& declare_whole(ParameterStore& store, const std::string& name, const Shape& shape) {
  Parameter parameter;
  parameter.name = name;
  parameter.shape = shape;
  parameter.slices = {whole_slice(name, shape)};
  if (shape.rank() == 1) {
    parameter.initialisation = Initialisation::ones;
    parameter.weight_decay = false;
  }
  return store.declare(std::move(parameter));
}

Linear::Linear(ParameterStore& store, const std::string& name, std::int64_t out_features, std::int64_t in_features)
    : weight_(declare_whole(store, name, {out_features, in_features})) {}

RmsNorm::RmsNorm(ParameterStore& store, const std::string& name, std::int64_t size, double eps)
    : weight_(declare_whole(store, name, {size})), eps_(static_cast<float>(eps)) {}

Attention::Attention(ParameterStore& store, const std::string& prefix, const AttentionOptions& options)
    : options_(options),
      qkv_(declare_qkv(store, prefix, options)),
      output_(store, prefix + "o_proj.weight", options.hidden_size, options.num_heads * options.head_dim) {
  if (options.qk_norm) {
    q_norm_ = &declare_whole(store, prefix + "q_norm.weight", {options.head_dim});
    k_norm_ = &declare_whole(store, prefix + "k_norm.weight", {options.head_dim});
  }
}

Variable Attention::forward(Context& context, const Variable& x, std::int64_t num_sequences, const Tensor& cos_sin,
                            const Tensor& document_starts) const {
  const std::int64_t num_tokens = x.data.size(0);
  const AttentionShape shape{num_sequences,         num_tokens / num_sequences, options_.num_heads,
                             options_.num_kv_heads, options_.head_dim,          document_starts};
  const Variable qkv = rotated(context, x, shape, cos_sin.rows(0, shape.sequence_length));
  return output_.forward(context, attention(context, qkv, shape));
}

Variable Attention::forward(Context& context, const Variable& x, const Tensor& cos_sin, const KvCache& cache,
                            std::int64_t layer) const {
  const std::int64_t num_tokens = x.data.size(0);
  const std::int64_t past = cache.length();
  const AttentionShape shape{1, num_tokens, options_.num_heads, options_.num_kv_heads, options_.head_dim};
  const Variable qkv = rotated(context, x, shape, cos_sin.rows(past, past + num_tokens));
  context.backend.store_keys_values(qkv.data, shape, past, cache.layer(layer));
  // The kernel of training has products of many queries at once.
  if (past == 0) return output_.forward(context, attention(context, qkv, shape));
  return output_.forward(context, cached_attention(context, qkv, cache.layer(layer), shape, past));
}

Variable Attention::rotated(Context& context, const Variable& x, const AttentionShape& shape,
                            const Tensor& cos_sin) const {
  const Variable qkv =
      reshape(linear(context, x, qkv_.variable), {shape.num_tokens(), shape.num_qkv_heads(), shape.head_dim});
  const Variable none;
  return rope(context, qkv, cos_sin, shape, q_norm_ ? q_norm_->variable : none, k_norm_ ? k_norm_->variable : none,
              static_cast<float>(options_.rms_norm_eps));
}

Mlp::Mlp(ParameterStore& store, const std::string& prefix, std::int64_t hidden_size, std::int64_t width)
    : width_(width),
      gate_up_(declare_stacked(store, prefix + "gate_up_proj.weight", {2 * width, hidden_size},
                               {whole_slice(prefix + "gate_proj.weight", {width, hidden_size}),
                                whole_slice(prefix + "up_proj.weight", {width, hidden_size})})),
      down_(store, prefix + "down_proj.weight", hidden_size, width) {}

Variable Mlp::forward(Context& context, const Variable& x) const {
  const Variable gate_up = reshape(linear(context, x, gate_up_.variable), {x.data.size(0), 2, width_});
  return down_.forward(context, swiglu(context, gate_up, Variable()));
}

}  // namespace artel
