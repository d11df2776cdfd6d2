#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "config/yaml.h"
#include "core/thread_pool.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda_device.h"
#include "model/transformer.h"
#include "ops/tape.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/tensors.h"
#include "support/test_device.h"

// One pass, forward and backward, of whole models on the CPU and on the device under test.

namespace artel {
namespace {

using Vector = std::vector<double>;

ModelConfig small_model(const std::string& routing, int top_k, bool qk_norm) {
  const std::string text =
      "model: {vocab_size: 64, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, "
      "head_dim: 32, max_position_embeddings: 32, num_experts: 8, moe_intermediate_size: 48, "
      "shared_expert_intermediate_size: 24, qk_norm: " +
      std::string(qk_norm ? "true" : "false") + ", num_experts_per_tok: " + std::to_string(top_k) +
      ", routing: {type: " + routing + ", uoe: {routing_neurons: 6}}}\ndata: {train: [{path: unused.bin}]}\n";
  return parse_config(text, "small.yaml").model;
}

/// What a pass leaves behind.
struct Pass {
  double loss = 0.0;
  std::map<std::string, Vector> gradients;  ///< by parameter
  std::vector<std::int32_t> choices;        ///< experts of all tokens, layer by layer
};

class ChoiceObserver final : public RoutingObserver {
 public:
  explicit ChoiceObserver(std::vector<std::int32_t>& choices) : choices_(choices) {}
  void on_routing(std::int64_t, const Tensor&, const Routing& routing, const std::vector<std::int32_t>&) override {
    const std::vector<std::int32_t> ids = ids_of(routing.expert_ids);
    choices_.insert(choices_.end(), ids.begin(), ids.end());
  }

 private:
  std::vector<std::int32_t>& choices_;
};

// Documents begin at a few positions that differ from sequence to sequence, one at the very end.
Vector documents_of(std::int64_t num_sequences, std::int64_t length) {
  Vector starts;
  for (std::int64_t i = 0; i < num_sequences * length; ++i) {
    const std::int64_t position = i % length;
    const bool begins = position == 0 || position == length - 1 || (position * position + i / length) % 7 == 1;
    starts.push_back(begins ? static_cast<double>(position) : starts.back());
  }
  return starts;
}

Pass run(Context context, const ModelConfig& config, DType dtype, bool documents = false) {
  constexpr std::int64_t num_sequences = 4;
  const std::int64_t num_tokens = num_sequences * config.max_position_embeddings;
  const auto world = make_self_communicator();
  Transformer model(config, *world);
  model.allocate(context, dtype);
  model.initialise(context, 7);
  model.parameters().zero_gradients(context);
  Vector ids, targets;
  for (std::int64_t i = 0; i < num_tokens; ++i) {
    ids.push_back(static_cast<double>((i * i + 3 * i) % 64));
    targets.push_back(static_cast<double>((i * 5 + i / 7) % 64));
  }
  Pass pass;
  ChoiceObserver observer(pass.choices);
  PassInfo info;
  info.num_sequences = num_sequences;
  info.tokens_per_step = num_tokens;
  info.training = true;
  info.observer = &observer;
  if (documents) {
    info.document_starts = tensor_of(context.allocator, {num_tokens}, DType::i32,
                                     documents_of(num_sequences, config.max_position_embeddings));
  }
  const Variable loss = model.loss(context, tensor_of(context.allocator, {num_tokens}, DType::i32, ids),
                                   tensor_of(context.allocator, {num_tokens}, DType::i32, targets), info);
  backward(context, {loss});
  pass.loss = values_of(loss.data)[0] / static_cast<double>(num_tokens);
  for (const Parameter& parameter : model.parameters().parameters()) {
    const std::int64_t begin = parameter.arena_offset;
    pass.gradients[parameter.name] = values_of(model.parameters().gradients().rows(begin, begin + parameter.numel()));
  }
  return pass;
}

/// The same on the CPU, whatever the device under test is.
Pass run_on_cpu(const ModelConfig& config, DType dtype, bool documents = false) {
  HostAllocator allocator;
  ThreadPool pool(1, &cpu::Gemm::prepare_thread);
  CpuBackend backend(pool, allocator);
  return run(Context{allocator, backend, pool}, config, dtype, documents);
}

double cosine(const Vector& a, const Vector& b) {
  return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}

double share_of_equal(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) {
  REQUIRE(a.size() == b.size());
  std::size_t equal = 0;
  for (std::size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i] ? 1 : 0;
  return static_cast<double>(equal) / static_cast<double>(a.size());
}

TEST_CASE("a pass of a model in fp32 has the loss, the choices and the gradients of the CPU", "[model]") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const auto [qk_norm, documents] =
      GENERATE(table<bool, bool>({{false, false}, {true, false}, {false, true}, {true, true}}));
  INFO(routing << ", qk_norm " << qk_norm << ", documents " << documents);
  const ModelConfig config = small_model(routing, 2, qk_norm);
  TestDevice device;
  const Pass gpu = run(device.context(), config, DType::f32, documents);
  const Pass cpu = run_on_cpu(config, DType::f32, documents);
  if (documents) CHECK(std::abs(cpu.loss - run_on_cpu(config, DType::f32).loss) > 1e-4 * cpu.loss);
  CHECK(std::abs(gpu.loss - cpu.loss) <= 1e-5 * cpu.loss);
  CHECK(gpu.choices == cpu.choices);
  for (const auto& [name, gradient] : cpu.gradients) {
    INFO(name);
    REQUIRE(largest(gradient) > 0.0);
    CHECK(cosine(gpu.gradients.at(name), gradient) >= 1.0 - 1e-6);
    expect_close(name, gpu.gradients.at(name), gradient, {1e-4 * largest(gradient), 0.0});
  }
}

TEST_CASE("a pass of a model in bf16 has the loss of the CPU and nearly all of its choices", "[model]") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  INFO(routing);
  const ModelConfig config = small_model(routing, 2, false);
  TestDevice device;
  const Pass gpu = run(device.context(), config, DType::bf16);
  const Pass cpu = run_on_cpu(config, DType::bf16);
  CHECK(std::abs(gpu.loss - cpu.loss) <= 2e-3 * cpu.loss);
  CHECK(share_of_equal(gpu.choices, cpu.choices) >= 0.99);
  // A token that goes to another expert takes its part of two experts' gradients along.
  for (const auto& [name, gradient] : cpu.gradients) {
    INFO(name);
    CHECK(cosine(gpu.gradients.at(name), gradient) >= (gpu.choices == cpu.choices ? 0.999 : 0.98));
  }
}

TEST_CASE("gradients in bf16 have the directions of the CPU's where every token goes to all experts", "[model]") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  INFO(routing);
  const ModelConfig config = small_model(routing, 8, false);
  TestDevice device;
  const Pass gpu = run(device.context(), config, DType::bf16);
  const Pass cpu = run_on_cpu(config, DType::bf16);
  for (const auto& [name, gradient] : cpu.gradients) {
    INFO(name);
    CHECK(cosine(gpu.gradients.at(name), gradient) >= 0.999);
  }
}

}  // namespace
}  // namespace artel
