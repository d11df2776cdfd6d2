#include "config/resolve.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "config/read_value.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr double kMaxParameters = 1e13;            // far above a machine's memory, far below overflow of a count
constexpr double kMaxTokens = 9007199254740992.0;  // 2^53: JSON readers hold no larger count exactly

/// numerator / denominator to nearest, ties up; both non-negative, denominator positive.
std::int64_t rounded(std::int64_t numerator, std::int64_t denominator) {
  return (2 * numerator + denominator) / (2 * denominator);
}

void resolve_attention(ModelConfig& m, const ConfigSources& sources) {
  if (m.head_dim == 0) {
    if (m.hidden_size % m.num_attention_heads != 0) {
      sources.fail_at({"model.num_attention_heads", "model.hidden_size"},
                      concat("model.hidden_size required a multiple of model.num_attention_heads ",
                             m.num_attention_heads, ", found ", m.hidden_size, "; change one or set model.head_dim"));
    }
    m.head_dim = m.hidden_size / m.num_attention_heads;
  }
  if (m.head_dim % 2 != 0) {
    sources.fail_at({"model.head_dim", "model.num_attention_heads", "model.hidden_size"},
                    concat("model.head_dim required an even number (RoPE turns halves), found ", m.head_dim));
  }
  if (m.num_attention_heads % m.num_key_value_heads != 0) {
    sources.fail_at({"model.num_key_value_heads", "model.num_attention_heads"},
                    concat("model.num_key_value_heads required a divisor of model.num_attention_heads ",
                           m.num_attention_heads, ", found ", m.num_key_value_heads));
  }
}

/// Of a layer, in doubles: the bounds of single keys leave products that no integer holds.
double feed_forward_parameters(const ModelConfig& m) {
  const auto d = static_cast<double>(m.hidden_size);
  if (m.num_experts == 0) return 3.0 * d * static_cast<double>(m.intermediate_size);
  double expert = 3.0 * d * static_cast<double>(m.moe_intermediate_size);
  if (m.routing.type == "aoe") {
    const auto r = static_cast<double>(m.routing.aoe.d_low);
    const auto w = static_cast<double>(m.routing.aoe.expert_width);
    expert = r * d + w * r + 2.0 * w * d;
  }
  const double shared = 3.0 * d * static_cast<double>(m.shared_expert_intermediate_size);
  return static_cast<double>(m.num_experts) * expert + shared;
}

void check_size(const ModelConfig& m, const ConfigSources& sources) {
  const auto d = static_cast<double>(m.hidden_size);
  const double attention = 4.0 * d * static_cast<double>(m.num_attention_heads) * static_cast<double>(m.head_dim);
  const double parameters = 2.0 * d * static_cast<double>(m.vocab_size) +
                            static_cast<double>(m.num_hidden_layers) * (attention + feed_forward_parameters(m));
  if (parameters > kMaxParameters) {
    sources.fail_at({"model.hidden_size", "model.num_experts", "model.moe_intermediate_size", "model.intermediate_size",
                     "model.shared_expert_intermediate_size", "model.routing.aoe.expert_width", "model"},
                    concat("model required at most ", format_count(kMaxParameters), " parameters, found about ",
                           format_count(parameters), "; lower hidden_size, num_experts or a width"));
  }
}

void check_experts(const ModelConfig& m, const ConfigSources& sources) {
  if (m.num_experts_per_tok > m.num_experts) {
    sources.fail_at({"model.num_experts_per_tok", "model.num_experts"},
                    concat("model.num_experts_per_tok required at most model.num_experts ", m.num_experts, ", found ",
                           m.num_experts_per_tok));
  }
  if (m.num_experts_per_tok == 1 && m.norm_topk_prob) {
    sources.fail_at(
        {"model.num_experts_per_tok", "model.norm_topk_prob"},
        "model.num_experts_per_tok 1 required model.norm_topk_prob false, found true: the only weight would "
        "always be 1 and the router would get no gradient; set norm_topk_prob: false");
  }
}

void resolve_uoe(ModelConfig& m, bool chosen, const ConfigSources& sources) {
  UoeConfig& uoe = m.routing.uoe;
  if (!uoe.virtual_shared_expert && !uoe.routed_includes_routing_neurons) {
    sources.fail_at({"model.routing.uoe.virtual_shared_expert", "model.routing.uoe.routed_includes_routing_neurons"},
                    "model.routing.uoe required virtual_shared_expert or routed_includes_routing_neurons, found both "
                    "false: the routing neurons would not contribute; set one to true");
  }
  const std::int64_t shared = m.shared_expert_intermediate_size;
  const std::int64_t idle = m.num_experts - m.num_experts_per_tok;
  const bool is_auto = uoe.routing_neurons == 0;
  const std::int64_t neurons =
      is_auto ? auto_routing_neurons(shared, m.num_experts, m.num_experts_per_tok) : uoe.routing_neurons;
  if (neurons >= 1 && neurons < m.moe_intermediate_size) {
    uoe.routing_neurons = neurons;
    return;
  }
  if (!chosen) return;
  const std::string integer = " or set model.routing.uoe.routing_neurons to an integer";
  if (!is_auto) {
    sources.fail_at({"model.routing.uoe.routing_neurons", "model.moe_intermediate_size"},
                    concat("model.routing.uoe.routing_neurons required an integer from 1 to ",
                           m.moe_intermediate_size - 1, " (below model.moe_intermediate_size), found ", neurons));
  }
  if (idle == 0) {
    sources.fail_at({"model.routing.uoe.routing_neurons", "model.num_experts_per_tok", "model.num_experts"},
                    concat("model.routing.uoe.routing_neurons: auto required model.num_experts above "
                           "model.num_experts_per_tok, found both ",
                           m.num_experts, "; lower num_experts_per_tok", integer));
  }
  if (shared == 0) {
    sources.fail_at({"model.shared_expert_intermediate_size", "model.routing.uoe.routing_neurons"},
                    concat("model.routing.uoe.routing_neurons: auto required "
                           "model.shared_expert_intermediate_size above 0, found 0; set it to the width to match",
                           integer));
  }
  sources.fail_at({"model.routing.uoe.routing_neurons", "model.shared_expert_intermediate_size", "model.routing.type"},
                  concat("model.routing.uoe.routing_neurons: auto required a result from 1 to ",
                         m.moe_intermediate_size - 1, ", found ", neurons, " = shared_expert_intermediate_size ",
                         shared, " / (num_experts - num_experts_per_tok ", idle, "); ", neurons < 1 ? "raise" : "lower",
                         " shared_expert_intermediate_size", integer));
}

void resolve_aoe(ModelConfig& m, bool chosen, const ConfigSources& sources) {
  AoeConfig& aoe = m.routing.aoe;
  if (aoe.d_low == 0) aoe.d_low = auto_d_low(m.hidden_size);
  if (chosen && aoe.d_low > m.hidden_size) {
    sources.fail_at(
        {"model.routing.aoe.d_low", "model.hidden_size"},
        concat("model.routing.aoe.d_low required at most model.hidden_size ", m.hidden_size, ", found ", aoe.d_low));
  }
  if (aoe.expert_width != 0) return;
  const std::int64_t width = auto_expert_width(m.hidden_size, m.moe_intermediate_size, aoe.d_low);
  if (width >= 1) {
    aoe.expert_width = width;
  } else if (chosen) {
    sources.fail_at({"model.routing.aoe.expert_width", "model.routing.aoe.d_low", "model.moe_intermediate_size"},
                    concat("model.routing.aoe.expert_width: auto required a result of at least 1, found ", width,
                           "; lower d_low below three times moe_intermediate_size ", m.moe_intermediate_size,
                           " or set expert_width to an integer"));
  }
}

void check_run(const RunConfig& run, const ConfigSources& sources) {
  if (run.name != "." && run.name != ".." && run.name.find('/') == std::string::npos) return;
  sources.fail_at({"run.name"}, concat("run.name required the name of a directory without '/', found '", run.name,
                                       "'; give the parent as run.directory"));
}

void require_names_that_differ(const std::vector<DataFile>& files, const std::string& list,
                               const ConfigSources& sources) {
  std::set<std::string> names;
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string& name = files[i].name;
    if (names.insert(name).second) continue;
    const std::string key = concat(list, ".", i);
    sources.fail_at({(key + ".name").c_str(), (key + ".path").c_str(), list.c_str()},
                    concat(list, " required names that differ, found '", name, "' twice; set 'name' of one of them"));
  }
}

void resolve_data(DataConfig& data, ValidationConfig& validation, const ConfigSources& sources) {
  for (auto* files : {&data.train, &data.validation, &validation.tasks}) {
    for (DataFile& file : *files) {
      if (file.name.empty()) file.name = std::filesystem::path(file.path).stem().string();
      if (file.name.empty()) file.name = file.path;
    }
  }
  require_names_that_differ(data.validation, "data.validation", sources);
  require_names_that_differ(validation.tasks, "validation.tasks", sources);
  if (!validation.tasks.empty() && data.validation.empty()) {
    sources.fail_at({"validation.tasks"},
                    "validation.tasks required a validation set to be evaluated with, found no data.validation; name a "
                    "file there");
  }
}

void check_batches(const Config& config, const ConfigSources& sources) {
  const TrainConfig& train = config.train;
  if (train.global_batch_size % train.micro_batch_size != 0) {
    sources.fail_at({"train.micro_batch_size", "train.global_batch_size"},
                    concat("train.global_batch_size required a multiple of train.micro_batch_size ",
                           train.micro_batch_size, ", found ", train.global_batch_size, "; change one of them"));
  }
  const double tokens = static_cast<double>(train.steps) * static_cast<double>(train.global_batch_size) *
                        static_cast<double>(config.model.max_position_embeddings);
  if (tokens > kMaxTokens) {
    sources.fail_at(
        {"train.steps", "train.global_batch_size", "model.max_position_embeddings"},
        concat("train.steps required a run of at most 2^53 tokens, found ", train.steps, " steps of ",
               train.global_batch_size, " sequences of ", config.model.max_position_embeddings, "; lower one of them"));
  }
  const std::int64_t most = std::max<std::int64_t>(config.model.num_experts, 1);
  if (config.parallel.expert > most) {
    sources.fail_at({"parallel.expert", "model.num_experts"},
                    concat("parallel.expert required at most ", most,
                           config.model.num_experts > 0 ? " (model.num_experts)" : " (the model has no experts)",
                           ", found ", config.parallel.expert));
  }
}

}  // namespace

std::int64_t auto_routing_neurons(std::int64_t shared_width, std::int64_t num_experts,
                                  std::int64_t num_experts_per_tok) {
  const std::int64_t idle = num_experts - num_experts_per_tok;
  return shared_width <= 0 || idle <= 0 ? 0 : rounded(shared_width, idle);
}

std::int64_t auto_d_low(std::int64_t hidden_size) {
  return std::max<std::int64_t>(1, rounded(hidden_size, 3));
}

std::int64_t auto_expert_width(std::int64_t hidden_size, std::int64_t moe_intermediate_size, std::int64_t d_low) {
  const std::int64_t numerator = hidden_size * (3 * moe_intermediate_size - d_low);
  return numerator <= 0 ? 0 : rounded(numerator, d_low + 2 * hidden_size);
}

void ConfigSources::fail_at(std::initializer_list<const char*> keys_involved, const std::string& text) const {
  for (const char* key : keys_involved) {
    const auto place = keys.find(key);
    if (place != keys.end()) fail_config(place->second, text);
  }
  if (file.empty()) fail("config", text);
  fail_config(file, text);
}

void resolve_model(ModelConfig& model, const ConfigSources& sources) {
  resolve_attention(model, sources);
  const bool dense = model.num_experts == 0;
  if (dense && model.intermediate_size == 0) {
    sources.fail_at({"model.intermediate_size", "model.num_experts"},
                    "model.num_experts 0 (a dense model) required model.intermediate_size above 0, found 0; set the "
                    "width of the dense SwiGLU");
  }
  if (!dense) check_experts(model, sources);
  resolve_uoe(model, !dense && model.routing.type == "uoe", sources);
  resolve_aoe(model, !dense && model.routing.type == "aoe", sources);
  check_size(model, sources);
}

void resolve_config(Config& config, const ConfigSources& sources) {
  resolve_model(config.model, sources);
  check_run(config.run, sources);
  resolve_data(config.data, config.validation, sources);
  check_batches(config, sources);
}

}  // namespace artel
