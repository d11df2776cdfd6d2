#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/schema.h"
#include "core/shape.h"

// Layouts of Hugging Face checkpoints: which model each can hold without changing its function, and how its tensors are
// made of Artel's. docs/huggingface.md has the tables.

namespace artel {

enum class HfLayout : std::uint8_t { mixtral, qwen3_moe, qwen2_moe, llama, qwen3, artel };

/// All of them, those that other programs know first.
const std::vector<HfLayout>& hf_layouts();
/// The model_type of config.json: "mixtral", …, "artel".
const char* hf_layout_name(HfLayout layout);
/// The class that config.json names: "MixtralForCausalLM", …
const char* hf_architecture(HfLayout layout);
/// Errors: no layout of that name, with the nearest.
HfLayout parse_hf_layout(std::string_view name);

/// The keys in which `model` is not what the layout expresses, each as "model.qk_norm required false, found true";
/// empty: it fits exactly.
std::vector<std::string> hf_misfits(const ModelConfig& model, HfLayout layout);

/// "auto": the first layout that the model fits, which is `artel` when no other one does. Any other name: that layout.
/// Errors: a model that does not fit it, naming every key.
HfLayout choose_hf_layout(const ModelConfig& model, std::string_view wanted);

/// A tensor of a layout: a stored tensor of Artel times `scale` (a power of two), or zeros.
struct HfTensor {
  std::string name;    ///< in the layout
  std::string source;  ///< Artel's stored name; empty: all zeros
  Shape shape;
  float scale = 1.0F;
};

/// Every tensor of a model that fits the layout, in the order of the network. `with_biases`: those of queries, keys and
/// values, which are zeros (qwen2_moe).
std::vector<HfTensor> hf_tensors(const ModelConfig& model, HfLayout layout, bool with_biases = true);

/// Name and shape of every stored tensor of a model, whole tensors, in the order of the network.
std::vector<HfTensor> stored_tensors(const ModelConfig& model);

}  // namespace artel
