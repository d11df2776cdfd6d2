#include "huggingface/model_config.h"

#include <vector>

#include "config/resolve.h"
#include "config/yaml.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

Json id_json(const std::optional<std::int64_t>& id) {
  return id ? Json(*id) : Json(nullptr);
}

const char* torch_name(DType dtype) {
  return dtype == DType::bf16 ? "bfloat16" : "float32";
}

/// The keys that all layouts but Artel's have under the same names.
void add_common(const ModelConfig& m, Json& json) {
  json["vocab_size"] = m.vocab_size;
  json["hidden_size"] = m.hidden_size;
  json["num_hidden_layers"] = m.num_hidden_layers;
  json["num_attention_heads"] = m.num_attention_heads;
  json["num_key_value_heads"] = m.num_key_value_heads;
  json["head_dim"] = m.head_dim;
  json["max_position_embeddings"] = m.max_position_embeddings;
  json["rope_theta"] = m.rope_theta;
  json["rope_scaling"] = nullptr;
  json["rms_norm_eps"] = m.rms_norm_eps;
  json["tie_word_embeddings"] = m.tie_word_embeddings;
  json["initializer_range"] = m.initializer_range;
  json["hidden_act"] = "silu";
  json["attention_dropout"] = 0.0;
}

void add_qwen_experts(const ModelConfig& m, Json& json) {
  json["intermediate_size"] = m.moe_intermediate_size;  // of dense layers, of which there are none
  json["moe_intermediate_size"] = m.moe_intermediate_size;
  json["num_experts"] = m.num_experts;
  json["num_experts_per_tok"] = m.num_experts_per_tok;
  json["norm_topk_prob"] = m.norm_topk_prob;
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = Json::array();
  json["output_router_logits"] = false;
}

void add_layout_keys(const ModelConfig& m, HfLayout layout, Json& json) {
  switch (layout) {
    case HfLayout::mixtral:
      json["intermediate_size"] = m.moe_intermediate_size;
      json["num_local_experts"] = m.num_experts;
      json["num_experts_per_tok"] = m.num_experts_per_tok;
      json["router_jitter_noise"] = 0.0;
      json["output_router_logits"] = false;
      json["sliding_window"] = nullptr;
      return;
    case HfLayout::qwen3_moe:
      add_qwen_experts(m, json);
      json["attention_bias"] = false;
      json["use_sliding_window"] = false;
      json["sliding_window"] = nullptr;
      return;
    case HfLayout::qwen2_moe:
      add_qwen_experts(m, json);
      json["shared_expert_intermediate_size"] = m.shared_expert_intermediate_size;
      json["qkv_bias"] = true;  // versions that have no such key always have them
      json["use_sliding_window"] = false;
      return;
    case HfLayout::llama:
      json["intermediate_size"] = m.intermediate_size;
      json["attention_bias"] = false;
      json["mlp_bias"] = false;
      json["pretraining_tp"] = 1;
      return;
    case HfLayout::qwen3:
      json["intermediate_size"] = m.intermediate_size;
      json["attention_bias"] = false;
      json["use_sliding_window"] = false;
      json["sliding_window"] = nullptr;
      return;
    case HfLayout::artel:
      return;
  }
}

Json artel_model_json(const ModelConfig& model) {
  Config config;
  config.model = model;
  return config_json(config)["model"];
}

/// config.json of another program: values by key, and requirements on keys that Artel has no choice of.
class Reader {
 public:
  Reader(const Json& json, const std::string& path) : json_(json), path_(path) {}

  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }
  template <class T>
  T get(const char* key) const {
    return json_value<T>(json_, key, path_);
  }
  template <class T>
  T get_or(const char* key, T fallback) const {
    return has(key) ? get<T>(key) : fallback;
  }
  /// The key is absent, null or `required`.
  void require_value(const char* key, const Json& required) const {
    if (has(key) && json_[key] != required) refuse(key, concat(dump_json(required), " (or no such key)"));
  }
  [[noreturn]] void refuse(const std::string& key, const std::string& required) const {
    const Json found = json_.contains(key) ? json_[key] : Json();
    fail("import", concat("required ", key, " = ", required, ", found ", excerpt_json(found), " in ", path_,
                          "; Artel computes nothing else"));
  }
  const Json& json() const { return json_; }
  const std::string& path() const { return path_; }

 private:
  const Json& json_;
  const std::string& path_;
};

/// Positions as they are, under the key of today (rope_parameters) or of before (rope_theta, rope_scaling).
double read_rope_theta(const Reader& reader) {
  double theta = reader.get_or("rope_theta", 10000.0);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!reader.has(key)) continue;
    const Json& rope = reader.json()[key];
    const Json kind = rope.contains("rope_type") ? rope["rope_type"] : rope.value("type", Json("default"));
    if (!rope.is_object() || kind != "default") reader.refuse(key, "null or of type default");
    if (rope.contains("rope_theta")) theta = json_value<double>(rope, "rope_theta", reader.path());
    if (rope.value("partial_rotary_factor", Json(1.0)) != Json(1.0)) reader.refuse(key, "positions on whole heads");
  }
  return theta;
}

void require_what_artel_computes(const Reader& reader) {
  reader.require_value("hidden_act", "silu");
  reader.require_value("attention_bias", false);
  reader.require_value("mlp_bias", false);
  reader.require_value("pretraining_tp", 1);
  reader.require_value("partial_rotary_factor", 1.0);
  reader.require_value("clip_qkv", Json());
  reader.require_value("quantization_config", Json());
  reader.require_value("decoder_sparse_step", 1);
  reader.require_value("mlp_only_layers", Json::array());
  if (reader.get_or("use_sliding_window", true)) reader.require_value("sliding_window", Json());
  if (!reader.has("layer_types")) return;
  for (const Json& type : reader.json()["layer_types"]) {
    if (type != "full_attention") reader.refuse("layer_types", "full_attention in every layer");
  }
}

void read_common(const Reader& reader, ModelConfig& m) {
  m.vocab_size = reader.get<std::int64_t>("vocab_size");
  m.hidden_size = reader.get<std::int64_t>("hidden_size");
  m.num_hidden_layers = reader.get<std::int64_t>("num_hidden_layers");
  m.num_attention_heads = reader.get<std::int64_t>("num_attention_heads");
  m.num_key_value_heads = reader.get_or("num_key_value_heads", m.num_attention_heads);
  m.head_dim = reader.get_or<std::int64_t>("head_dim", 0);
  m.max_position_embeddings = reader.get<std::int64_t>("max_position_embeddings");
  m.rope_theta = read_rope_theta(reader);
  m.rms_norm_eps = reader.get<double>("rms_norm_eps");
  m.tie_word_embeddings = reader.get_or("tie_word_embeddings", false);
  m.initializer_range = reader.get_or("initializer_range", m.initializer_range);
}

/// Under one name or the other, whatever the layout: transformers 5 writes the second for all.
std::int64_t read_num_experts(const Reader& reader) {
  return reader.get<std::int64_t>(reader.has("num_local_experts") ? "num_local_experts" : "num_experts");
}

void read_qwen_experts(const Reader& reader, ModelConfig& m) {
  m.num_experts = read_num_experts(reader);
  m.num_experts_per_tok = reader.get<std::int64_t>("num_experts_per_tok");
  m.moe_intermediate_size = reader.get<std::int64_t>("moe_intermediate_size");
  m.norm_topk_prob = reader.get_or("norm_topk_prob", false);
}

void read_layout_keys(const Reader& reader, HfConfig& config) {
  ModelConfig& m = config.model;
  m.num_experts = 0;
  m.shared_expert_intermediate_size = 0;
  m.qk_norm = config.layout == HfLayout::qwen3_moe || config.layout == HfLayout::qwen3;
  switch (config.layout) {
    case HfLayout::mixtral:
      m.num_experts = read_num_experts(reader);
      m.num_experts_per_tok = reader.get<std::int64_t>("num_experts_per_tok");
      m.moe_intermediate_size = reader.get<std::int64_t>("intermediate_size");
      m.norm_topk_prob = true;
      return;
    case HfLayout::qwen2_moe:
      m.shared_expert_intermediate_size = reader.get<std::int64_t>("shared_expert_intermediate_size");
      config.with_biases = reader.get_or("qkv_bias", true);
      [[fallthrough]];
    case HfLayout::qwen3_moe:
      return read_qwen_experts(reader, m);
    case HfLayout::llama:
    case HfLayout::qwen3:
    case HfLayout::artel:
      m.intermediate_size = reader.get<std::int64_t>("intermediate_size");
      return;
  }
}

/// The keys of Artel's own layout are those of the model block.
ModelConfig read_artel_model(const Json& json, const std::string& path) {
  Json config;
  config["data"] = {{"train", {{{"path", "unused"}}}}};
  config["model"] = Json::object();
  const Json known = artel_model_json(ModelConfig());
  for (const auto& [key, value] : known.items()) {
    if (json.contains(key)) config["model"][key] = json[key];
  }
  return config_from_json(config, path).model;
}

}  // namespace

Json hf_config_json(const ModelConfig& model, HfLayout layout, DType dtype, const SpecialIds& ids) {
  Json json;
  json["architectures"] = {hf_architecture(layout)};
  json["model_type"] = hf_layout_name(layout);
  if (layout == HfLayout::artel) {
    json["auto_map"] = {{"AutoConfig", "configuration_artel.ArtelConfig"},
                        {"AutoModel", "modeling_artel.ArtelModel"},
                        {"AutoModelForCausalLM", "modeling_artel.ArtelForCausalLM"}};
    json.update(artel_model_json(model));
  } else {
    add_common(model, json);
    add_layout_keys(model, layout, json);
  }
  json["torch_dtype"] = torch_name(dtype);
  json["use_cache"] = true;
  json["bos_token_id"] = id_json(ids.begin);
  json["eos_token_id"] = id_json(ids.end);
  json["pad_token_id"] = nullptr;
  return json;
}

Json generation_config_json(const SpecialIds& ids) {
  Json json;
  json["do_sample"] = true;  // as artel generate
  if (ids.begin) json["bos_token_id"] = *ids.begin;
  if (ids.end) json["eos_token_id"] = *ids.end;
  return json;
}

HfConfig parse_hf_config(const Json& json, const std::string& path) {
  HfConfig config;
  const auto type = json_value<std::string>(json, "model_type", path);
  try {
    config.layout = parse_hf_layout(type);
  } catch (const Error& error) {
    fail("import", concat(path, ": model_type: ", error.what()));
  }
  const Reader reader(json, path);
  if (config.layout == HfLayout::artel) {
    config.model = read_artel_model(json, path);
  } else {
    require_what_artel_computes(reader);
    read_common(reader, config.model);
    read_layout_keys(reader, config);
  }
  resolve_model(config.model, {path, {}});
  return config;
}

}  // namespace artel
