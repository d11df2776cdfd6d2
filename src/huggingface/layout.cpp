#include "huggingface/layout.h"

#include <set>

#include "comm/communicator.h"
#include "model/transformer.h"
#include "util/error.h"
#include "util/nearest_name.h"
#include "util/text.h"

namespace artel {
namespace {

struct LayoutTexts {
  HfLayout layout;
  const char* name;
  const char* architecture;
};

constexpr LayoutTexts texts[] = {
    {HfLayout::mixtral, "mixtral", "MixtralForCausalLM"},
    {HfLayout::qwen3_moe, "qwen3_moe", "Qwen3MoeForCausalLM"},
    {HfLayout::qwen2_moe, "qwen2_moe", "Qwen2MoeForCausalLM"},
    {HfLayout::llama, "llama", "LlamaForCausalLM"},
    {HfLayout::qwen3, "qwen3", "Qwen3ForCausalLM"},
    {HfLayout::artel, "artel", "ArtelForCausalLM"},
};

const LayoutTexts& texts_of(HfLayout layout) {
  for (const LayoutTexts& entry : texts) {
    if (entry.layout == layout) return entry;
  }
  fail("huggingface", "required a layout of the list, found another value");
}

bool is_moe_layout(HfLayout layout) {
  return layout == HfLayout::mixtral || layout == HfLayout::qwen3_moe || layout == HfLayout::qwen2_moe;
}

/// Collects requirements that a model misses.
class Misfits {
 public:
  template <class T>
  void require_equal(const char* key, const T& required, const T& found, const char* reason = "") {
    if (required == found) return;
    missed_.push_back(concat("model.", key, " required ", required, ", found ", found, reason));
  }
  void add(std::string text) { missed_.push_back(std::move(text)); }
  std::vector<std::string> take() { return std::move(missed_); }

 private:
  std::vector<std::string> missed_;
};

void check_moe(const ModelConfig& m, HfLayout layout, Misfits& misfits) {
  if (m.num_experts == 0) {
    misfits.add("model.num_experts required 1 or more, found 0");
    return;
  }
  misfits.require_equal<std::string>("routing.type", "softmax", m.routing.type);
  misfits.require_equal("routed_scaling_factor", 1.0, m.routed_scaling_factor);
  misfits.require_equal("qk_norm", layout == HfLayout::qwen3_moe, m.qk_norm);
  if (layout == HfLayout::mixtral) misfits.require_equal("norm_topk_prob", true, m.norm_topk_prob);
  if (layout == HfLayout::qwen2_moe) {
    if (m.shared_expert_intermediate_size == 0) {
      misfits.add("model.shared_expert_intermediate_size required 1 or more, found 0");
    }
  } else {
    misfits.require_equal<std::int64_t>("shared_expert_intermediate_size", 0, m.shared_expert_intermediate_size);
  }
}

void replace_part(std::string& text, std::string_view part, std::string_view by) {
  const std::size_t at = text.find(part);
  if (at != std::string::npos) text.replace(at, part.size(), by);
}

std::string mixtral_name(std::string name) {
  replace_part(name, ".mlp.", ".block_sparse_moe.");
  if (name.find(".experts.") == std::string::npos) return name;
  replace_part(name, ".gate_proj.", ".w1.");
  replace_part(name, ".down_proj.", ".w2.");
  replace_part(name, ".up_proj.", ".w3.");
  return name;
}

// The layout's shared expert is multiplied by the sigmoid of a gate of its own. A gate of zeros makes that 1/2, and
// doubled down projections make it 1: both are exact, since they change exponents alone.
constexpr float gate_of_zeros = 0.5F;

void add_qwen2_moe_tensors(const HfTensor& tensor, bool with_biases, std::vector<HfTensor>& tensors) {
  tensors.push_back(tensor);
  if (tensor.name.ends_with(".shared_expert.down_proj.weight")) {
    tensors.back().scale = 1.0F / gate_of_zeros;
    const std::string prefix = tensor.name.substr(0, tensor.name.find("shared_expert."));
    tensors.push_back({prefix + "shared_expert_gate.weight", "", {1, tensor.shape[0]}});
  }
  for (const char* projection : {"q_proj.", "k_proj.", "v_proj."}) {
    if (!with_biases || !tensor.name.ends_with(concat(".self_attn.", projection, "weight"))) continue;
    const std::string prefix = tensor.name.substr(0, tensor.name.size() - std::string_view("weight").size());
    tensors.push_back({prefix + "bias", "", {tensor.shape[0]}});
  }
}

}  // namespace

const std::vector<HfLayout>& hf_layouts() {
  static const std::vector<HfLayout> layouts = [] {
    std::vector<HfLayout> all;
    for (const LayoutTexts& entry : texts) all.push_back(entry.layout);
    return all;
  }();
  return layouts;
}

const char* hf_layout_name(HfLayout layout) {
  return texts_of(layout).name;
}

const char* hf_architecture(HfLayout layout) {
  return texts_of(layout).architecture;
}

HfLayout parse_hf_layout(std::string_view name) {
  std::vector<std::string> names;
  for (const LayoutTexts& entry : texts) {
    if (name == entry.name) return entry.layout;
    names.emplace_back(entry.name);
  }
  const std::string nearest = nearest_name(name, names);
  fail("huggingface", concat("required a layout that Artel knows (", join(names, ", "), "), found '", name, "'",
                             nearest.empty() ? "" : concat("; did you mean '", nearest, "'?")));
}

std::vector<std::string> hf_misfits(const ModelConfig& model, HfLayout layout) {
  Misfits misfits;
  if (is_moe_layout(layout)) {
    check_moe(model, layout, misfits);
  } else if (layout != HfLayout::artel) {
    misfits.require_equal<std::int64_t>("num_experts", 0, model.num_experts);
    misfits.require_equal("qk_norm", layout == HfLayout::qwen3, model.qk_norm);
  }
  return misfits.take();
}

HfLayout choose_hf_layout(const ModelConfig& model, std::string_view wanted) {
  if (wanted == "auto") {
    for (const HfLayout layout : hf_layouts()) {
      if (hf_misfits(model, layout).empty()) return layout;
    }
  }
  const HfLayout layout = parse_hf_layout(wanted);
  const std::vector<std::string> misfits = hf_misfits(model, layout);
  if (!misfits.empty()) {
    fail("export", concat("required a model that the layout ", hf_layout_name(layout),
                          " expresses exactly, found: ", join(misfits, "; "), "; the layout that fits is ",
                          hf_layout_name(choose_hf_layout(model, "auto"))));
  }
  return layout;
}

std::vector<HfTensor> stored_tensors(const ModelConfig& model) {
  const std::unique_ptr<Communicator> self = make_self_communicator();
  Transformer network(model, *self);
  std::vector<HfTensor> tensors;
  std::set<std::string> seen;
  for (const Parameter& parameter : network.parameters().parameters()) {
    for (const StoredSlice& slice : parameter.slices) {
      if (seen.insert(slice.name).second) tensors.push_back({slice.name, slice.name, slice.stored_shape});
    }
  }
  return tensors;
}

std::vector<HfTensor> hf_tensors(const ModelConfig& model, HfLayout layout, bool with_biases) {
  std::vector<HfTensor> tensors;
  for (HfTensor& tensor : stored_tensors(model)) {
    if (layout == HfLayout::mixtral && tensor.name.starts_with("model.layers.")) {
      tensor.name = mixtral_name(tensor.name);
    }
    if (layout == HfLayout::qwen2_moe) {
      add_qwen2_moe_tensors(tensor, with_biases, tensors);
    } else {
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

}  // namespace artel
