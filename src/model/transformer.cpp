#include "model/transformer.h"

#include "ops/probe.h"
#include "util/error.h"

namespace artel {

Transformer::Transformer(const ModelConfig& config, Communicator& world, const RouterFactory& factory)
    : Transformer(config, world, nullptr, factory) {}

Transformer::Transformer(const ModelConfig& config, const Mesh& mesh, const RouterFactory& factory)
    : Transformer(config, mesh.world(), &mesh.expert(), factory) {}

Transformer::Transformer(const ModelConfig& config, Communicator& world, Communicator* expert_group,
                         const RouterFactory& factory)
    : config_(config),
      embedding_(declare_whole(store_, "model.embed_tokens.weight", {config.vocab_size, config.hidden_size})) {
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
    add_block(layer, world, expert_group, factory);
  final_norm_ = std::make_unique<RmsNorm>(store_, "model.norm.weight", config.hidden_size, config.rms_norm_eps);
  if (!config.tie_word_embeddings) {
    head_ = std::make_unique<Linear>(store_, "lm_head.weight", config.vocab_size, config.hidden_size);
  }
}

void Transformer::add_block(std::int64_t layer, Communicator& world, Communicator* expert_group,
                            const RouterFactory& factory) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  const AttentionOptions attention{
      config_.hidden_size, config_.num_attention_heads, config_.num_key_value_heads, config_.head_dim,
      config_.qk_norm,     config_.rms_norm_eps};
  blocks_.push_back(
      {RmsNorm(store_, prefix + "input_layernorm.weight", config_.hidden_size, config_.rms_norm_eps),
       Attention(store_, prefix + "self_attn.", attention),
       RmsNorm(store_, prefix + "post_attention_layernorm.weight", config_.hidden_size, config_.rms_norm_eps), nullptr,
       nullptr, layer});
  if (config_.num_experts > 0) {
    blocks_.back().moe =
        std::make_unique<MoeLayer>(RouterSetup{config_, layer, prefix + "mlp.", store_, world, expert_group}, factory);
  } else {
    blocks_.back().mlp = std::make_unique<Mlp>(store_, prefix + "mlp.", config_.hidden_size, config_.intermediate_size);
  }
}

void Transformer::allocate(Context& context, DType dtype) {
  store_.lay_out();
  allocate(context, dtype, ArenaRanges::whole(store_.num_elements()));
}

void Transformer::allocate(Context& context, DType dtype, const ArenaRanges& owned) {
  store_.allocate(context, dtype, owned);
  cos_sin_ = rope_table(context, config_.max_position_embeddings, config_.head_dim, config_.rope_theta);
  for (Block& block : blocks_) {
    if (block.moe) block.moe->router().allocate_state(context);
  }
}

void Transformer::initialise(Context& context, std::int64_t seed) {
  store_.initialise(context, seed, config_.initializer_range);
}

std::vector<Variable> Transformer::run_block(Context& context, const Block& block, const std::vector<Variable>& stream,
                                             const Tensor& ids, const PassInfo& info) const {
  NormResult before_attention = block.input_norm.forward(context, stream[0], stream[1]);
  watch(context, block.layer, "input", before_attention.sum);
  watch(context, block.layer, "input_layernorm", before_attention.normalised);
  const Variable& x = before_attention.normalised;
  Variable attended = info.cache
                          ? block.attention.forward(context, x, cos_sin_, *info.cache, block.layer)
                          : block.attention.forward(context, x, info.num_sequences, cos_sin_, info.document_starts);
  watch(context, block.layer, "self_attn", attended);
  NormResult before_ffn = block.post_attention_norm.forward(context, before_attention.sum, attended);
  watch(context, block.layer, "post_attention", before_ffn.sum);
  watch(context, block.layer, "post_attention_layernorm", before_ffn.normalised);
  return {before_ffn.sum, run_ffn(context, block, before_ffn.normalised, ids, info)};
}

Variable Transformer::run_ffn(Context& context, const Block& block, const Variable& x, const Tensor& ids,
                              const PassInfo& info) const {
  RouteInput input;
  input.x = x;
  input.token_ids = ids;
  input.step = info.step;
  input.sequence_length = ids.numel() / info.num_sequences;
  input.tokens_per_step = info.tokens_per_step;
  input.training = info.training;
  Variable y = block.moe ? block.moe->forward(context, input, info.observer) : block.mlp->forward(context, x);
  watch(context, block.layer, "mlp", y);
  return y;
}

Variable Transformer::hidden_states(Context& context, const Tensor& ids, const PassInfo& info) {
  if (info.num_sequences < 1 || ids.numel() % info.num_sequences != 0) {
    fail("model", "required tokens of whole sequences, found " + std::to_string(ids.numel()) + " tokens for " +
                      std::to_string(info.num_sequences) + " sequences");
  }
  const std::int64_t length = ids.numel() / info.num_sequences + (info.cache ? info.cache->length() : 0);
  if (length > config_.max_position_embeddings) {
    fail("model", "required sequences of at most max_position_embeddings = " +
                      std::to_string(config_.max_position_embeddings) + " tokens, found " + std::to_string(length));
  }
  std::vector<Variable> stream = {embedding(context, embedding_.variable, ids), Variable()};
  watch(context, -1, "embed_tokens", stream[0]);
  for (const Block& block : blocks_) {
    if (info.recompute_blocks) {
      stream = recompute(context, stream, [this, &block, ids, info](Context& ctx, const std::vector<Variable>& inputs) {
        return run_block(ctx, block, inputs, ids, info);
      });
    } else {
      stream = run_block(context, block, stream, ids, info);
    }
  }
  Variable normalised = final_norm_->forward(context, stream[0], stream[1]).normalised;
  watch(context, -1, "norm", normalised);
  return normalised;
}

const Variable& Transformer::head_weight() const {
  return head_ ? head_->weight().variable : embedding_.variable;
}

Variable Transformer::loss(Context& context, const Tensor& ids, const Tensor& targets, const PassInfo& info) {
  const Variable hidden = hidden_states(context, ids, info);
  const float grad_scale = info.tokens_per_step > 0 ? 1.0F / static_cast<float>(info.tokens_per_step) : 1.0F;
  return linear_cross_entropy(context, hidden, head_weight(), targets, grad_scale);
}

Tensor Transformer::logits(Context& context, const Tensor& ids, std::int64_t num_sequences,
                           const Tensor& document_starts) {
  Context inference = context;
  inference.record_tape = false;
  PassInfo info;
  info.num_sequences = num_sequences;
  info.document_starts = document_starts;
  const Variable hidden = hidden_states(inference, ids, info);
  return linear(inference, hidden, head_weight(), DType::f32).data;
}

Tensor Transformer::next_logits(Context& context, const Tensor& ids) {
  PassInfo info;
  info.num_sequences = 1;
  return last_logits(context, ids, info);
}

Tensor Transformer::next_logits(Context& context, const Tensor& ids, KvCache& cache) {
  PassInfo info;
  info.num_sequences = 1;
  info.cache = &cache;
  Tensor logits = last_logits(context, ids, info);
  cache.advance(ids.numel());
  return logits;
}

KvCache Transformer::make_cache(Context& context, std::int64_t capacity) const {
  if (capacity > config_.max_position_embeddings) {
    fail("model", "required a cache of at most max_position_embeddings = " +
                      std::to_string(config_.max_position_embeddings) + " tokens, found " + std::to_string(capacity));
  }
  return KvCache(context, config_.num_hidden_layers, config_.num_key_value_heads, config_.head_dim, store_.dtype(),
                 capacity);
}

Tensor Transformer::last_logits(Context& context, const Tensor& ids, const PassInfo& info) {
  Context inference = context;
  inference.record_tape = false;
  const Tensor hidden = hidden_states(inference, ids, info).data;
  const Variable last(hidden.rows(hidden.size(0) - 1, hidden.size(0)));
  return linear(inference, last, head_weight(), DType::f32).data;
}

Tensor Transformer::token_losses(Context& context, const Tensor& ids, const Tensor& places, const Tensor& targets,
                                 const PassInfo& info) {
  Context inference = context;
  inference.record_tape = false;
  const Tensor hidden = hidden_states(inference, ids, info).data;
  const Tensor chosen = context.empty({places.numel(), hidden.size(1)}, hidden.dtype());
  context.backend.gather_rows(hidden, places, chosen);
  return token_cross_entropy(inference, chosen, head_weight().data, targets);
}

std::vector<NotedStatistics> Transformer::take_statistics() {
  std::vector<NotedStatistics> statistics;
  for (Block& block : blocks_) {
    if (block.moe) statistics.push_back(block.moe->take_statistics());
  }
  return statistics;
}

void Transformer::after_step(Context& context, const std::vector<StepStatistics>& statistics) {
  std::size_t layer = 0;
  for (Block& block : blocks_) {
    if (block.moe) block.moe->router().after_step(context, statistics.at(layer++));
  }
}

std::vector<RouterState> Transformer::router_state() const {
  std::vector<RouterState> state;
  for (const Block& block : blocks_) {
    if (!block.moe) continue;
    for (RouterState& entry : block.moe->router().state()) state.push_back(std::move(entry));
  }
  return state;
}

}  // namespace artel
