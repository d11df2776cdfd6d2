#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/schema.h"
#include "core/dtype.h"
#include "huggingface/layout.h"
#include "util/json.h"

// config.json of a Hugging Face checkpoint.

namespace artel {

/// Ids of the tokenizer that a text begins and ends with; none: not known.
struct SpecialIds {
  std::optional<std::int64_t> begin;
  std::optional<std::int64_t> end;
};

/// config.json of a model that fits the layout. Keys of training alone are left out, but for `artel`, which holds every
/// key of the model block.
Json hf_config_json(const ModelConfig& model, HfLayout layout, DType dtype, const SpecialIds& ids);

/// generation_config.json.
Json generation_config_json(const SpecialIds& ids);

/// What config.json says of a checkpoint.
struct HfConfig {
  HfLayout layout = HfLayout::artel;
  ModelConfig model;        ///< resolved; keys of training have their defaults
  bool with_biases = true;  ///< qwen2_moe: there are tensors of biases, all of which must be zero
};

/// Reads config.json; `path` names it in errors. Errors: a model_type that Artel does not know, a key that asks for
/// what Artel does not compute (another activation, scaled positions, sliding windows, biases, …), naming it.
HfConfig parse_hf_config(const Json& json, const std::string& path);

}  // namespace artel
