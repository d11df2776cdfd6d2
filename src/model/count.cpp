#include "model/count.h"

#include <algorithm>
#include <cmath>

#include "util/error.h"
#include "util/text.h"

// d hidden_size, N num_experts, K num_experts_per_tok, D moe_intermediate_size, S routing neurons per expert,
// r and w rank and width of AoE, L layers.

namespace artel {
namespace {

constexpr std::int64_t kFlopsPerMultiplyAdd = 6;
constexpr double kMatchTolerance = 0.02;

/// Parameters of one layer's feed-forward part, in units that a token multiplies once; FLOPs follow from them.
struct FeedForward {
  std::int64_t dense = 0;         // on every rank
  std::int64_t expert = 0;        // spread by expert parallelism
  std::int64_t routing_used = 0;  // per token
  std::int64_t experts_used = 0;
  std::int64_t shared_used = 0;
};

std::int64_t resolved(std::int64_t value, const char* key) {
  if (value < 1) fail("count", concat(key, " required a resolved size, found auto; resolve the config first"));
  return value;
}

FeedForward count_uoe(const ModelConfig& m) {
  const std::int64_t d = m.hidden_size;
  const std::int64_t neurons = resolved(m.routing.uoe.routing_neurons, "model.routing.uoe.routing_neurons");
  const std::int64_t rest = m.moe_intermediate_size - neurons;
  FeedForward f;
  f.dense = 3 * d * m.num_experts * neurons;
  f.expert = 3 * d * m.num_experts * rest;
  f.routing_used = 2 * d * m.num_experts * neurons;
  f.shared_used = d * m.num_experts * neurons;
  f.experts_used = 3 * d * m.num_experts_per_tok * rest;
  return f;
}

FeedForward count_aoe(const ModelConfig& m) {
  const std::int64_t d = m.hidden_size;
  const std::int64_t rank = resolved(m.routing.aoe.d_low, "model.routing.aoe.d_low");
  const std::int64_t width = resolved(m.routing.aoe.expert_width, "model.routing.aoe.expert_width");
  const std::int64_t per_expert = rank * width + 2 * width * d;
  FeedForward f;
  // Every token passes the gates of all experts, so they are on every rank, as UoE's routing neurons are.
  f.dense = m.num_experts * rank * d;
  f.expert = m.num_experts * per_expert;
  f.routing_used = m.num_experts * rank * d;
  f.experts_used = m.num_experts_per_tok * per_expert;
  return f;
}

FeedForward count_linear_router(const ModelConfig& m) {
  const std::int64_t per_expert = 3 * m.hidden_size * m.moe_intermediate_size;
  FeedForward f;
  f.dense = m.num_experts * m.hidden_size;
  f.expert = m.num_experts * per_expert;
  f.routing_used = f.dense;
  f.experts_used = m.num_experts_per_tok * per_expert;
  return f;
}

FeedForward count_feed_forward(const ModelConfig& m) {
  FeedForward f;
  if (m.num_experts == 0) {
    f.dense = 3 * m.hidden_size * m.intermediate_size;
    f.experts_used = f.dense;
    return f;
  }
  if (m.routing.type == "uoe") return count_uoe(m);
  f = m.routing.type == "aoe" ? count_aoe(m) : count_linear_router(m);
  f.shared_used = 3 * m.hidden_size * m.shared_expert_intermediate_size;
  f.dense += f.shared_used;
  return f;
}

std::string share(std::int64_t part, std::int64_t whole) {
  return format_fixed(whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0.0, 1) + " %";
}

/// "1,102,070,784".
std::string grouped(std::int64_t value) {
  const std::string digits = concat(value);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string line(const std::string& label, const std::string& value, const std::string& note) {
  const std::string after_label(label.size() < 14 ? 14 - label.size() : 1, ' ');
  const std::string before_value(value.size() < 20 ? 20 - value.size() : 0, ' ');
  return concat("  ", label, after_label, before_value, value, note.empty() ? "" : "  ", note, "\n");
}

}  // namespace

std::int64_t expert_width(const ModelConfig& m) {
  if (m.routing.type == "aoe") return resolved(m.routing.aoe.expert_width, "model.routing.aoe.expert_width");
  if (m.routing.type != "uoe") return m.moe_intermediate_size;
  return m.moe_intermediate_size - resolved(m.routing.uoe.routing_neurons, "model.routing.uoe.routing_neurons");
}

ModelCount count_model(const ModelConfig& m) {
  const std::int64_t d = m.hidden_size;
  const std::int64_t layers = m.num_hidden_layers;
  const std::int64_t head_dim = resolved(m.head_dim, "model.head_dim");
  const std::int64_t heads = m.num_attention_heads * head_dim;
  const std::int64_t kv_heads = m.num_key_value_heads * head_dim;
  const std::int64_t projections = 2 * d * heads + 2 * d * kv_heads;
  const std::int64_t norms = 2 * d + (m.qk_norm ? 2 * head_dim : 0);
  const FeedForward f = count_feed_forward(m);

  ModelCount count;
  count.embedding = m.vocab_size * d;
  const std::int64_t outside = count.embedding * (m.tie_word_embeddings ? 1 : 2) + d;
  const std::int64_t around = projections + norms;
  count.expert = layers * f.expert;
  count.total = outside + layers * (around + f.dense + f.expert);
  count.active = outside + layers * (around + f.routing_used + f.experts_used + f.shared_used);

  // Scores and their product with the values: two multiply-adds per head element and visible token, (T + 1) / 2 tokens.
  const std::int64_t scores = heads * (m.max_position_embeddings + 1);
  FlopCount& flops = count.flops_per_token;
  flops.attention = kFlopsPerMultiplyAdd * layers * (projections + scores);
  flops.experts = kFlopsPerMultiplyAdd * layers * f.experts_used;
  flops.routing = kFlopsPerMultiplyAdd * layers * f.routing_used;
  flops.shared = kFlopsPerMultiplyAdd * layers * f.shared_used;
  flops.head = kFlopsPerMultiplyAdd * count.embedding;
  flops.total = flops.attention + flops.experts + flops.routing + flops.shared + flops.head;
  return count;
}

std::vector<std::string> describe_warnings(const ModelConfig& model) {
  if (model.num_experts == 0 || model.routing.type != "uoe") return {};
  // In units of 18 d FLOPs a layer: what a token multiplies in the experts of N·S + K (D - S) and of K·D + D_sh.
  const std::int64_t neurons = resolved(model.routing.uoe.routing_neurons, "model.routing.uoe.routing_neurons");
  const std::int64_t fits = neurons * (model.num_experts - model.num_experts_per_tok);
  const std::int64_t shared = model.shared_expert_intermediate_size;
  const std::int64_t matched = model.num_experts_per_tok * model.moe_intermediate_size + shared;
  const double excess = static_cast<double>(fits - shared) / static_cast<double>(matched);
  if (std::fabs(excess) <= kMatchTolerance) return {};
  return {concat("UoE takes ", format_fixed(100.0 * std::fabs(excess), 1), " % ", excess > 0 ? "more" : "fewer",
                 " FLOPs in its experts than the softmax MoE with shared_expert_intermediate_size ", shared,
                 " in its; ", neurons, " routing neurons match shared_expert_intermediate_size ", fits)};
}

Json describe_json(const Config& config, const RankLayout& layout) {
  const ModelCount count = count_model(config.model);
  const FlopCount& flops = count.flops_per_token;
  const MemoryEstimate memory = memory_bytes_per_rank(config, layout);
  Json out;
  out["name"] = config.run.name;
  out["parameters"] = {{"total", count.total}, {"active", count.active}, {"embedding", count.embedding}};
  out["flops_per_token"] = {{"total", flops.total},     {"attention", flops.attention}, {"experts", flops.experts},
                            {"routing", flops.routing}, {"shared", flops.shared},       {"head", flops.head}};
  out["precision"] = uses_bf16(config, layout) ? "bf16" : "fp32";
  out["memory_bytes_per_rank"] = {{"parameters", memory.parameters}, {"gradients", memory.gradients},
                                  {"optimizer", memory.optimizer},   {"activations", memory.activations},
                                  {"rounding", memory.rounding},     {"communication", memory.communication}};
  out["warnings"] = describe_warnings(config.model);
  return out;
}

std::string describe_text(const Config& config, const RankLayout& layout) {
  const ModelCount count = count_model(config.model);
  const FlopCount& flops = count.flops_per_token;
  const MemoryEstimate memory = memory_bytes_per_rank(config, layout);
  const bool dense = config.model.num_experts == 0;
  std::string out = concat(config.run.name, " (", dense ? "dense" : config.model.routing.type, ")\n");
  out += "parameters\n";
  out += line("total", grouped(count.total), "");
  out += line("active", grouped(count.active), share(count.active, count.total));
  out += line("embedding", grouped(count.embedding), share(count.embedding, count.total));
  out += "FLOPs per token, forward and backward\n";
  out += line("total", grouped(flops.total), "");
  const std::pair<const char*, std::int64_t> parts[] = {{"attention", flops.attention},
                                                        {"experts", flops.experts},
                                                        {"routing", flops.routing},
                                                        {"shared", flops.shared},
                                                        {"head", flops.head}};
  for (const auto& [label, part] : parts) out += line(label, grouped(part), share(part, flops.total));
  out +=
      concat("memory per rank at its fullest, about (", uses_bf16(config, layout) ? "bf16" : "fp32",
             config.train.precision == "auto" ? " by precision: auto on this machine, " : ", ",
             std::max(layout.world, config.parallel.expert), " ranks",
             layout.max_load > 1.0 ? concat(", the fullest with ", layout.max_load, " of the mean load") : "", ")\n");
  const std::pair<const char*, std::int64_t> bytes[] = {
      {"parameters", memory.parameters},   {"gradients", memory.gradients}, {"optimizer", memory.optimizer},
      {"activations", memory.activations}, {"rounding", memory.rounding},   {"communication", memory.communication}};
  for (const auto& [label, part] : bytes) out += line(label, format_bytes(static_cast<double>(part)), "");
  for (const std::string& warning : describe_warnings(config.model)) out += concat("warning: ", warning, "\n");
  return out;
}

}  // namespace artel
