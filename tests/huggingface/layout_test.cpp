#include "huggingface/layout.h"

#include <algorithm>

#include "huggingface/models.h"

using namespace artel;

namespace {

struct Case {
  std::string keys;
  HfLayout layout;
};

const std::vector<Case> cases = {
    {moe_keys, HfLayout::mixtral},
    {moe_keys + ", qk_norm: true", HfLayout::qwen3_moe},
    {"num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 12, norm_topk_prob: false, qk_norm: true",
     HfLayout::qwen3_moe},
    {moe_keys + ", shared_expert_intermediate_size: 8", HfLayout::qwen2_moe},
    {"num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 12, norm_topk_prob: false", HfLayout::artel},
    {moe_keys + ", shared_expert_intermediate_size: 8, qk_norm: true", HfLayout::artel},
    {moe_keys + ", routed_scaling_factor: 2.5", HfLayout::artel},
    {moe_keys + ", shared_expert_intermediate_size: 4, routing: {type: uoe}", HfLayout::artel},
    {moe_keys + ", routing: {type: aoe}", HfLayout::artel},
    {dense_keys, HfLayout::llama},
    {dense_keys + ", qk_norm: true, tie_word_embeddings: true", HfLayout::qwen3},
};

std::string refusal(const std::string& keys, const std::string& layout) {
  return error_text([&] { choose_hf_layout(small_config(keys).model, layout); });
}

}  // namespace

TEST_CASE("Every model goes to the first layout that holds it, and artel holds all") {
  for (const Case& c : cases) {
    INFO(c.keys);
    const ModelConfig model = small_config(c.keys).model;
    CHECK(choose_hf_layout(model, "auto") == c.layout);
    CHECK(choose_hf_layout(model, hf_layout_name(c.layout)) == c.layout);
    CHECK(choose_hf_layout(model, "artel") == HfLayout::artel);
  }
}

TEST_CASE("A layout refuses what it cannot express, each key by name") {
  const std::string unnormed =
      "num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 12, norm_topk_prob: false";
  expect_contains(refusal(unnormed, "mixtral"), "model.norm_topk_prob required true, found false");
  expect_contains(refusal(moe_keys + ", qk_norm: true", "mixtral"), "model.qk_norm required false, found true");
  expect_contains(refusal(moe_keys, "qwen3_moe"), "model.qk_norm required true, found false");
  expect_contains(refusal(moe_keys + ", routed_scaling_factor: 2.5", "mixtral"),
                  "model.routed_scaling_factor required 1, found 2.5");
  expect_contains(refusal(moe_keys + ", shared_expert_intermediate_size: 8", "mixtral"),
                  "model.shared_expert_intermediate_size required 0, found 8");
  expect_contains(refusal(moe_keys, "qwen2_moe"), "model.shared_expert_intermediate_size required 1 or more");
  expect_contains(refusal(dense_keys, "mixtral"), "model.num_experts required 1 or more, found 0");
  expect_contains(refusal(moe_keys, "llama"), "model.num_experts required 0, found 4");
  expect_contains(refusal(dense_keys, "qwen3"), "model.qk_norm required true");
  expect_contains(refusal(dense_keys + ", qk_norm: true", "llama"), "model.qk_norm required false");
  const std::string uoe = refusal(
      moe_keys + ", shared_expert_intermediate_size: 4, routed_scaling_factor: 2, routing: {type: uoe}", "mixtral");
  expect_contains(uoe, "model.routing.type required softmax, found uoe");
  expect_contains(uoe, "model.routed_scaling_factor");
  expect_contains(uoe, "the layout that fits is artel");
  expect_contains(refusal(moe_keys, "mixtrall"), "did you mean 'mixtral'?");
}

TEST_CASE("Names of a layout are those that transformers reads") {
  const auto names = [](const std::string& keys, HfLayout layout) {
    std::vector<std::string> found;
    for (const HfTensor& tensor : hf_tensors(small_config(keys).model, layout)) found.push_back(tensor.name);
    return found;
  };
  const auto has = [](const std::vector<std::string>& all, const std::string& name) {
    return std::count(all.begin(), all.end(), name) == 1;
  };
  const auto mixtral = names(moe_keys, HfLayout::mixtral);
  CHECK(has(mixtral, "model.layers.1.block_sparse_moe.gate.weight"));
  for (const char* matrix : {"w1", "w2", "w3"}) {
    CHECK(has(mixtral, std::string("model.layers.0.block_sparse_moe.experts.3.") + matrix + ".weight"));
  }
  for (const HfTensor& tensor : hf_tensors(small_config(moe_keys).model, HfLayout::mixtral)) {
    INFO(tensor.name);
    // Gate, down and up projection of an expert, in this order.
    for (const auto& [theirs, ours] :
         {std::pair(".w1.", ".gate_proj."), std::pair(".w2.", ".down_proj."), std::pair(".w3.", ".up_proj.")}) {
      const bool is_theirs = tensor.name.find(theirs) != std::string::npos;
      CHECK(is_theirs == (tensor.source.find(ours) != std::string::npos));
    }
  }
  CHECK(mixtral.size() == 3 + 2 * (2 + 4 + 1 + 4 * 3));
  CHECK(mixtral.front() == "model.embed_tokens.weight");
  CHECK(mixtral.back() == "lm_head.weight");

  const auto qwen3 = names(moe_keys + ", qk_norm: true", HfLayout::qwen3_moe);
  CHECK(has(qwen3, "model.layers.1.self_attn.q_norm.weight"));
  CHECK(has(qwen3, "model.layers.1.mlp.gate.weight"));
  CHECK(has(qwen3, "model.layers.1.mlp.experts.0.gate_proj.weight"));

  const auto qwen2 = names(moe_keys + ", shared_expert_intermediate_size: 8", HfLayout::qwen2_moe);
  CHECK(has(qwen2, "model.layers.0.self_attn.k_proj.bias"));
  CHECK(has(qwen2, "model.layers.0.mlp.shared_expert_gate.weight"));
  CHECK_FALSE(has(qwen2, "model.layers.0.self_attn.o_proj.bias"));

  const auto tied = names(dense_keys + ", tie_word_embeddings: true", HfLayout::llama);
  CHECK_FALSE(has(tied, "lm_head.weight"));
  CHECK(has(tied, "model.layers.0.mlp.down_proj.weight"));
}
