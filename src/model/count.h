#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/schema.h"
#include "model/memory.h"
#include "util/json.h"

namespace artel {

/// Floating-point operations of training on one token: 6 per multiply-add of the matrix products (2 forward, 4
/// backward), without recompute. Attention is causal, so a token sees (max_position_embeddings + 1) / 2 tokens on
/// average; the embedding look-up counts 0. Exact integers.
struct FlopCount {
  std::int64_t attention = 0;  ///< projections and scores
  std::int64_t experts = 0;    ///< routed experts, or the dense SwiGLU; of UoE K experts without their routing neurons
  std::int64_t routing = 0;    ///< router; AoE: gates of rank r of all experts; UoE: gate and up of all routing neurons
  std::int64_t shared = 0;     ///< real shared expert; UoE: down products of all routing neurons
  std::int64_t head = 0;       ///< logits
  std::int64_t total = 0;
};

struct ModelCount {
  std::int64_t total = 0;      ///< parameters
  std::int64_t active = 0;     ///< parameters that one token uses, embedding and head included
  std::int64_t embedding = 0;  ///< parameters of model.embed_tokens.weight; a tied head has none of its own
  std::int64_t expert =
      0;  ///< parameters that expert parallelism spreads; the other `total - expert` are on every rank
  FlopCount flops_per_token;
};

/// Neurons of an expert that only tokens which chose it pass: all but UoE's routing neurons. In memory they are
/// padded_width of it (nn/parameter.h).
std::int64_t expert_width(const ModelConfig& model);

/// Counts a resolved model (config/resolve.h). Throws Error when a size that the routing method needs is still `auto`,
/// or for a routing type that is not softmax, uoe or aoe, unless it is a router with a matrix [N, d]
/// (`linear_routers`).
ModelCount count_model(const ModelConfig& model);

/// What a reader should know before trusting a comparison: UoE whose FLOPs per token in the experts miss those of the
/// softmax MoE with a shared expert of shared_expert_intermediate_size, N·S + K (D - S) = K·D + D_sh, by over 2 %, with
/// the width that fits.
std::vector<std::string> describe_warnings(const ModelConfig& model);

/// {"name", "parameters", "flops_per_token", "precision", "memory_bytes_per_rank", "warnings"} of `artel describe
/// --json`.
Json describe_json(const Config& config, const RankLayout& layout = {});

/// The same as a table for a terminal, ending in a line end.
std::string describe_text(const Config& config, const RankLayout& layout = {});

}  // namespace artel
