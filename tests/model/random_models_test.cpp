#include <cmath>
#include <cstdint>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "config/yaml.h"
#include "data/document_starts.h"
#include "model/transformer.h"
#include "optim/adamw.h"
#include "support/catch.h"
#include "support/tensors.h"
#include "support/test_device.h"
#include "train/train_step.h"

// Shapes that nobody thought of: widths, heads, lengths and documents at random.

using namespace artel;

namespace {

class Draw {
 public:
  explicit Draw(std::uint32_t seed) : random_(seed) {}
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random_() % static_cast<std::uint32_t>(high - low + 1));
  }
  template <class T>
  T one_of(const std::vector<T>& values) {
    return values[static_cast<std::size_t>(between(0, static_cast<std::int64_t>(values.size()) - 1))];
  }
  const char* flag() { return between(0, 1) == 1 ? "true" : "false"; }

 private:
  std::mt19937 random_;
};

std::string random_model(Draw& draw) {
  const std::int64_t num_heads = draw.one_of<std::int64_t>({1, 2, 3, 4, 6});
  const std::int64_t heads_per_kv = num_heads % 2 == 0 ? draw.between(1, 2) : 1;
  const std::int64_t num_experts = draw.one_of<std::int64_t>({0, 2, 3, 5, 8, 16, 33});
  const std::int64_t top_k = draw.between(1, num_experts > 2 ? 3 : 1);
  const std::int64_t width = draw.between(4, 90);
  std::ostringstream text;
  text << "model: {vocab_size: " << draw.one_of<std::int64_t>({2, 17, 256, 1003})
       << ", hidden_size: " << draw.between(1, 140) << ", num_hidden_layers: " << draw.between(1, 2)
       << ", num_attention_heads: " << num_heads << ", num_key_value_heads: " << num_heads / heads_per_kv
       << ", head_dim: " << draw.one_of<std::int64_t>({2, 6, 16, 34, 64, 128, 256})
       << ", max_position_embeddings: " << draw.one_of<std::int64_t>({1, 3, 65, 127, 256, 257, 300, 320, 511, 700})
       << ", qk_norm: " << draw.flag() << ", tie_word_embeddings: " << draw.flag()
       << ", intermediate_size: " << (num_experts == 0 ? width : 0) << ", num_experts: " << num_experts
       << ", num_experts_per_tok: " << top_k << ", moe_intermediate_size: " << width
       << ", shared_expert_intermediate_size: " << draw.between(1, 60)
       << ", norm_topk_prob: " << (top_k > 1 ? draw.flag() : "false")
       << ", router_aux_loss_scope: " << draw.one_of<std::string>({"sequence", "micro"})
       << ", routing: {type: " << draw.one_of<std::string>({"softmax", "uoe", "aoe"})
       << ", uoe: {routing_neurons: " << draw.between(1, width - 1)
       << ", routing_signal: " << draw.one_of<std::string>({"gate", "gate_preactivation", "glu"})
       << ", routing_norm: " << draw.one_of<std::string>({"l2", "l1", "linf"})
       << ", routed_includes_routing_neurons: true, virtual_shared_expert: " << draw.flag()
       << "}, aoe: {d_low: 1, expert_width: " << draw.between(1, 60) << "}}}\ndata: {train: [{path: unused.bin}]}\n";
  return text.str();
}

Batch random_batch(Draw& draw, const ModelConfig& model, bool documents) {
  Batch batch;
  batch.num_samples = draw.between(1, 3);
  batch.seq_len = model.max_position_embeddings;
  const std::int64_t num_tokens = batch.num_samples * batch.seq_len;
  for (std::int64_t i = 0; i < num_tokens; ++i) {
    batch.inputs.push_back(static_cast<std::int32_t>(draw.between(0, model.vocab_size - 1)));
    batch.targets.push_back(static_cast<std::int32_t>(draw.between(0, model.vocab_size - 1)));
  }
  if (!documents) return batch;
  batch.document_starts.resize(batch.inputs.size());
  const std::int64_t mean = draw.one_of<std::int64_t>({2, 60, 400});
  for (std::int64_t sample = 0; sample < batch.num_samples; ++sample) {
    std::vector<std::int32_t> ends;
    for (std::int64_t i = 0; i < batch.seq_len; ++i) ends.push_back(draw.between(1, mean) == 1 ? 1 : 0);
    document_starts_by_id(ends.data(), batch.seq_len, 1, batch.document_starts.data() + sample * batch.seq_len);
  }
  return batch;
}

NamedTensors two_steps(TestDevice& device, const ModelConfig& config, const Batch& batch, DType dtype,
                       bool recompute_blocks) {
  Context context = device.context();
  const auto world = make_self_communicator();
  Transformer model(config, *world);
  model.allocate(context, dtype);
  model.initialise(context, 7);
  AdamW optimizer(context, model.parameters(), OptimizerConfig{});
  StepOptions options;
  options.micro_batch_size = 2;
  options.tokens_per_step = static_cast<std::int64_t>(batch.inputs.size());
  options.lr = 0.01;
  options.recompute_blocks = recompute_blocks;
  for (options.step = 1; options.step <= 2; ++options.step) {
    CHECK(std::isfinite(run_step(context, model, optimizer, batch, options).loss));
  }
  return {{"masters", model.parameters().masters()}, {"exp_avg_sq", optimizer.exp_avg_sq()}};
}

}  // namespace

TEST_CASE("Models of random shapes train within their memory and alike on one thread and on three") {
  for (std::uint32_t seed = 1; seed <= 24; ++seed) {
    Draw draw(seed);
    const std::string text = random_model(draw);
    const ModelConfig config = parse_config(text, "random.yaml").model;
    const bool documents = draw.between(0, 2) > 0;
    const Batch batch = random_batch(draw, config, documents);
    const DType dtype = draw.one_of<DType>({DType::f32, DType::bf16});
    INFO("seed " << seed << (documents ? ", documents, " : ", ") << dtype_name(dtype) << ", " << text);
    TestDevice one(1), three(3);
    const NamedTensors expected = two_steps(one, config, batch, dtype, false);
    const NamedTensors found = two_steps(three, config, batch, dtype, true);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      INFO(expected[i].first);
      CHECK(bytes_of(expected[i].second) == bytes_of(found[i].second));
    }
  }
}
