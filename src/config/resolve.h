#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "config/schema.h"

namespace artel {

/// Routing neurons S per expert at which N*S + K*(D - S) = K*D + D_sh: D_sh / (N - K) to nearest, ties up.
/// 0 when no shared width or no idle expert leaves it undefined (D_sh = 0 or N <= K).
std::int64_t auto_routing_neurons(std::int64_t shared_width, std::int64_t num_experts,
                                  std::int64_t num_experts_per_tok);

/// AoE: width r of the low-rank gate, hidden_size / 3 to nearest and at least 1.
std::int64_t auto_d_low(std::int64_t hidden_size);

/// AoE: expert width w that keeps an expert's parameters at 3 d D: (3 d D - r d) / (r + 2 d) to nearest, ties up.
/// 0 or less when d_low leaves no room.
std::int64_t auto_expert_width(std::int64_t hidden_size, std::int64_t moe_intermediate_size, std::int64_t d_low);

/// Where each key was set, for error texts. Empty for a Config built in code.
struct ConfigSources {
  std::string file;                         ///< named for keys that stand nowhere
  std::map<std::string, std::string> keys;  ///< dotted key -> "FILE:LINE" or "--set key=value"

  /// Throws Error("config", "PLACE: text") with the place of the first of `keys_involved` that was set.
  [[noreturn]] void fail_at(std::initializer_list<const char*> keys_involved, const std::string& text) const;
};

/// Replaces `auto` (0) in the model by its value where that can be known, and checks the keys of the model against each
/// other: heads, K <= N, sizes of the chosen routing method. Throws Error naming the keys and what to change.
void resolve_model(ModelConfig& model, const ConfigSources& sources = {});

/// resolve_model, names of data files, batch sizes, ranks.
void resolve_config(Config& config, const ConfigSources& sources = {});

}  // namespace artel
