#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "comm/mesh.h"
#include "model/moe_layer.h"

// Shapes: T tokens (whole sequences, one after another) · d hidden_size · V vocab_size.

namespace artel {

/// What one forward pass is for.
struct PassInfo {
  std::int64_t num_sequences = 0;
  Tensor document_starts = {};  ///< [T] i32 where each token's document begins (AttentionShape); undefined: one each
  std::int64_t step = 0;        ///< optimizer step, 1 for the first
  std::int64_t tokens_per_step = 0;  ///< over all ranks and micro-batches; the loss gradient is divided by it
  bool training = false;
  bool recompute_blocks = false;
  KvCache* cache = nullptr;             ///< holds the one sequence so far and takes in this part; only without a tape
  RoutingObserver* observer = nullptr;  ///< sees every MoE layer; not for passes whose blocks are recomputed
};

/// The decoder of docs/architecture.md: pre-norm, causal attention with rotary positions, dense or MoE feed-forward.
class Transformer {
 public:
  /// Declares every parameter of a rank that holds all experts. Errors: settings that a layer refuses.
  Transformer(const ModelConfig& config, Communicator& world, const RouterFactory& factory = make_router);
  /// Declares every parameter that the rank of this mesh holds. The mesh must outlive the model.
  Transformer(const ModelConfig& config, const Mesh& mesh, const RouterFactory& factory = make_router);
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  /// Allocates parameters of this type, tables and router state.
  void allocate(Context& context, DType dtype);
  /// The same on a rank that keeps masters and optimizer state for the elements in `owned` alone.
  void allocate(Context& context, DType dtype, const ArenaRanges& owned);
  void initialise(Context& context, std::int64_t seed);

  /// Sum of the cross-entropy of every token, f64 [1]; ids and targets [T] i32.
  Variable loss(Context& context, const Tensor& ids, const Tensor& targets, const PassInfo& info);
  /// Logits [T, V] f32 of ids [T] i32; document_starts as in PassInfo.
  Tensor logits(Context& context, const Tensor& ids, std::int64_t num_sequences, const Tensor& document_starts = {});
  /// Logits [1, V] f32 of what follows the one sequence ids [T] i32.
  Tensor next_logits(Context& context, const Tensor& ids);
  /// The same for the tokens of the cache and ids [T] i32 behind them, which the cache takes in.
  Tensor next_logits(Context& context, const Tensor& ids, KvCache& cache);
  /// An empty cache for a sequence of up to `capacity` tokens. Errors: more than max_position_embeddings.
  KvCache make_cache(Context& context, std::int64_t capacity) const;

  /// Cross-entropies [R] f32 in nats of some of the tokens ids [T] i32, without gradients: places [R] i32 says which,
  /// targets [R] i32 what follows them.
  Tensor token_losses(Context& context, const Tensor& ids, const Tensor& places, const Tensor& targets,
                      const PassInfo& info);

  const ModelConfig& config() const { return config_; }
  ParameterStore& parameters() { return store_; }
  /// Of the training passes since the last call, one entry per layer; empty for dense models. Waits for nothing.
  std::vector<NotedStatistics> take_statistics();
  void after_step(Context& context, const std::vector<StepStatistics>& statistics);
  std::vector<RouterState> router_state() const;

 private:
  struct Block {
    RmsNorm input_norm;
    Attention attention;
    RmsNorm post_attention_norm;
    std::unique_ptr<MoeLayer> moe;
    std::unique_ptr<Mlp> mlp;
    std::int64_t layer;
  };

  Transformer(const ModelConfig& config, Communicator& world, Communicator* expert_group, const RouterFactory& factory);
  void add_block(std::int64_t layer, Communicator& world, Communicator* expert_group, const RouterFactory& factory);
  /// Final hidden states [T, d], normalised.
  Variable hidden_states(Context& context, const Tensor& ids, const PassInfo& info);
  /// (h, delta) -> (h', delta') with h' the residual stream before the feed-forward's output delta' is added.
  std::vector<Variable> run_block(Context& context, const Block& block, const std::vector<Variable>& stream,
                                  const Tensor& ids, const PassInfo& info) const;
  /// The feed-forward part of a block on its normalised input x [T, d].
  Variable run_ffn(Context& context, const Block& block, const Variable& x, const Tensor& ids,
                   const PassInfo& info) const;
  const Variable& head_weight() const;
  Tensor last_logits(Context& context, const Tensor& ids, const PassInfo& info);

  ModelConfig config_;
  ParameterStore store_;
  Parameter& embedding_;
  std::deque<Block> blocks_;
  std::unique_ptr<RmsNorm> final_norm_;
  std::unique_ptr<Linear> head_;
  Tensor cos_sin_;
};

}  // namespace artel
