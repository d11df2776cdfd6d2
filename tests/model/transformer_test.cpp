#include "model/transformer.h"

#include <cmath>
#include <map>
#include <optional>

#include "config/yaml.h"
#include "optim/adamw.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/tensors.h"
#include "support/test_device.h"
#include "train/train_step.h"

using namespace artel;

namespace {

ModelConfig small_model(const std::string& routing, std::int64_t sequence_length) {
  const std::string text =
      "model: {vocab_size: 64, hidden_size: 48, num_hidden_layers: 2, num_attention_heads: 3, "
      "num_key_value_heads: 3, max_position_embeddings: " +
      std::to_string(sequence_length) +
      ", num_experts: 8, num_experts_per_tok: 2, moe_intermediate_size: 40, "
      "shared_expert_intermediate_size: 24, routing: {type: " +
      routing + "}}\ndata: {train: [{path: unused.bin}]}\n";
  return parse_config(text, "small.yaml").model;
}

Batch repeating_batch(std::int64_t num_samples, std::int64_t seq_len) {
  Batch batch;
  batch.num_samples = num_samples;
  batch.seq_len = seq_len;
  for (std::int64_t i = 0; i < num_samples * seq_len; ++i) {
    batch.inputs.push_back(static_cast<std::int32_t>((i * i + 3 * i + i / seq_len) % 64));
    batch.targets.push_back(static_cast<std::int32_t>(((i + 1) * (i + 1) + 3 * (i + 1) + i / seq_len) % 64));
  }
  return batch;
}

struct Job {
  Job(TestDevice& device, const ModelConfig& config, DType dtype, double lr)
      : context(device.context()), world(make_self_communicator()), model(config, *world) {
    model.allocate(context, dtype);
    model.initialise(context, 7);
    OptimizerConfig options;
    options.lr = lr;
    optimizer.emplace(context, model.parameters(), options);
  }

  StepOutcome step(const Batch& batch, std::int64_t step, double lr, bool recompute_blocks = false,
                   std::int64_t micro_batch_size = 1 << 20) {
    StepOptions options;
    options.step = step;
    options.micro_batch_size = micro_batch_size;
    options.tokens_per_step = static_cast<std::int64_t>(batch.inputs.size());
    options.lr = lr;
    options.recompute_blocks = recompute_blocks;
    return run_step(context, model, *optimizer, batch, options);
  }

  Context context;
  std::unique_ptr<Communicator> world;
  Transformer model;
  std::optional<AdamW> optimizer;
};

NamedTensors state_of(Job& job) {
  return {{"values", job.model.parameters().values()},
          {"masters", job.model.parameters().masters()},
          {"gradients", job.model.parameters().gradients()},
          {"exp_avg", job.optimizer->exp_avg()},
          {"exp_avg_sq", job.optimizer->exp_avg_sq()}};
}

}  // namespace

TEST_CASE("Every routing overfits one batch to near zero", "[slow]") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  INFO(routing << " " << dtype_name(dtype));
  TestDevice device(2);
  Job job(device, small_model(routing, 16), dtype, 3e-3);
  const Batch batch = repeating_batch(2, 16);
  double loss = 0.0;
  for (int step = 1; step <= 150; ++step) loss = job.step(batch, step, 3e-3).loss;
  CHECK(loss < 0.02);
}

TEST_CASE("Recomputing blocks changes no bit of a step") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  INFO(routing << " " << dtype_name(dtype));
  TestDevice device(2);
  const ModelConfig config = small_model(routing, 32);
  Job plain(device, config, dtype, 1e-2);
  Job recomputed(device, config, dtype, 1e-2);
  const Batch batch = repeating_batch(4, 32);
  for (int step = 1; step <= 3; ++step) {
    const StepOutcome a = plain.step(batch, step, 1e-2, false, 2);
    const StepOutcome b = recomputed.step(batch, step, 1e-2, true, 2);
    CHECK(a.loss == b.loss);
    CHECK(a.aux_loss == b.aux_loss);
    CHECK(a.layers[0].expert_counts == b.layers[0].expert_counts);
  }
  const NamedTensors left = state_of(plain);
  const NamedTensors right = state_of(recomputed);
  for (std::size_t i = 0; i < left.size(); ++i) {
    INFO(left[i].first);
    CHECK(bytes_of(left[i].second) == bytes_of(right[i].second));
  }
}

TEST_CASE("A row of documents has the loss and the gradients of the documents apart") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const bool recompute_blocks = GENERATE(false, true);
  INFO(routing << " " << recompute_blocks);
  TestDevice device(2);
  ModelConfig config = small_model(routing, 32);
  config.router_aux_loss_coef = 0.0;  // counted over the tokens of a pass
  Job job(device, config, DType::f32, 1e-2);
  const std::vector<std::int64_t> lengths = {10, 1, 21};
  Batch packed = repeating_batch(1, 32);
  for (std::int64_t start = 0; const std::int64_t length : lengths) {
    packed.document_starts.insert(packed.document_starts.end(), static_cast<std::size_t>(length),
                                  static_cast<std::int32_t>(start));
    start += length;
  }
  StepOptions options;
  options.tokens_per_step = 32;
  options.recompute_blocks = recompute_blocks;
  const auto gradients_of = [&](const std::vector<Batch>& batches, double& loss) {
    job.model.parameters().zero_gradients(job.context);
    loss = 0.0;
    for (const Batch& batch : batches) {
      const Variable sum = micro_batch_loss(job.context, job.model, batch, 0, 1, options);
      backward(job.context, {sum});
      loss += values_of(sum.data)[0];
    }
    return values_of(job.model.parameters().gradients());
  };
  std::vector<Batch> apart;
  for (std::int64_t start = 0; const std::int64_t length : lengths) {
    Batch batch;
    batch.num_samples = 1;
    batch.seq_len = length;
    batch.inputs.assign(packed.inputs.begin() + start, packed.inputs.begin() + start + length);
    batch.targets.assign(packed.targets.begin() + start, packed.targets.begin() + start + length);
    apart.push_back(batch);
    start += length;
  }
  double together_loss = 0.0, apart_loss = 0.0, unmasked_loss = 0.0;
  const std::vector<double> together = gradients_of({packed}, together_loss);
  const std::vector<double> expected = gradients_of(apart, apart_loss);
  CHECK(together_loss == Approx(apart_loss).epsilon(1e-6));
  expect_close("gradients", together, expected, tolerance_for(DType::f32, 32, largest(expected)));
  packed.document_starts.clear();
  gradients_of({packed}, unmasked_loss);
  CHECK(std::abs(unmasked_loss - apart_loss) > 1e-4);
}

TEST_CASE("A step has the same bits for 1, 2, 3 and 4 threads") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  INFO(routing << " " << dtype_name(dtype));
  expect_same_bits_on_every_run([&](TestDevice& device) {
    Job job(device, small_model(routing, 64), dtype, 1e-2);
    const Batch batch = repeating_batch(16, 64);
    for (int step = 1; step <= 2; ++step) job.step(batch, step, 1e-2);
    return state_of(job);
  });
}

TEST_CASE("A step of 16,384 tokens has the same bits for 1, 2, 3 and 4 threads", "[slow]") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  INFO(routing);
  expect_same_bits_on_every_run([&](TestDevice& device) {
    Job job(device, small_model(routing, 256), DType::f32, 1e-2);
    job.step(repeating_batch(64, 256), 1, 1e-2);
    return state_of(job);
  });
}

TEST_CASE("Micro-batches sum to the whole batch when the balance loss counts per sequence") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  INFO(routing);
  TestDevice device;
  ModelConfig config = small_model(routing, 32);
  config.router_aux_loss_scope = "sequence";
  Job whole(device, config, DType::f32, 1e-2);
  Job split(device, config, DType::f32, 1e-2);
  const Batch batch = repeating_batch(4, 32);
  const StepOutcome a = whole.step(batch, 1, 0.0);
  const StepOutcome b = split.step(batch, 1, 0.0, false, 1);
  CHECK(a.loss == Approx(b.loss).epsilon(1e-7));
  CHECK(a.aux_loss == Approx(b.aux_loss).epsilon(1e-6));
  const std::vector<double> expected = values_of(whole.model.parameters().gradients());
  expect_close("gradients", values_of(split.model.parameters().gradients()), expected, {1e-5 * largest(expected), 0.0});
}

TEST_CASE(
    "Initial experts of UoE equal those of the MoE bit for bit, and do not depend on the seed of another tensor") {
  TestDevice device;
  Job moe(device, small_model("softmax", 16), DType::f32, 1e-3);
  Job uoe(device, small_model("uoe", 16), DType::f32, 1e-3);
  const auto stored = [](Job& job) {
    std::map<std::string, std::vector<double>> tensors;
    for (const Parameter& parameter : job.model.parameters().parameters()) {
      const std::vector<double> values = values_of(ParameterStore::view_of(parameter, job.model.parameters().values()));
      std::int64_t position = 0;
      for (const StoredSlice& slice : parameter.slices) {
        auto& whole = tensors[slice.name];
        whole.resize(usize(slice.stored_shape.numel()));
        const std::int64_t columns = slice.stored_shape.inner();
        const Shape shape = slice.shape();
        for (std::int64_t row = 0; row < shape[0]; ++row) {
          for (std::int64_t column = 0; column < shape.inner(); ++column) {
            const std::int64_t first = shape.rank() == 2 ? slice.begin[1] : 0;
            whole[usize((slice.begin[0] + row) * columns + first + column)] =
                values[usize(position + row * slice.memory_shape().inner() + column)];
          }
        }
        position += slice.memory_numel();
      }
    }
    return tensors;
  };
  const auto left = stored(moe);
  const auto right = stored(uoe);
  REQUIRE(left.count("model.layers.1.mlp.experts.5.down_proj.weight") == 1);
  for (const auto& [name, values] : right) {
    INFO(name);
    REQUIRE(left.count(name) == 1);
    CHECK(values == left.at(name));
  }
}

TEST_CASE("Neurons that pad experts in memory are zero after steps: weights, gradients and moments") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  INFO(routing << " " << dtype_name(dtype));
  ModelConfig config = small_model(routing, 16);
  config.moe_intermediate_size = 37;
  config.routing.uoe.routing_neurons = 4;
  config.routing.aoe.d_low = 11;
  config.routing.aoe.expert_width = 21;
  TestDevice device(2);
  Job job(device, config, dtype, 1e-2);
  const Batch batch = repeating_batch(2, 16);
  for (int step = 1; step <= 3; ++step) job.step(batch, step, 1e-2);
  for (const auto& [name, tensor] : state_of(job)) {
    INFO(name);
    const std::vector<double> values = values_of(tensor);
    int num_padding = 0, num_wrong = 0;
    for (const Parameter& parameter : job.model.parameters().parameters()) {
      if (parameter.kind ==
          ParameterKind::expert) {  // rows of bf16, and every expert's, begin at multiples of 16 bytes
        CHECK((parameter.shape[1] % 8 == 0 && parameter.shape[2] % 8 == 0));
      }
      std::int64_t at = parameter.arena_offset;
      for (const StoredSlice& slice : parameter.slices) {
        const Shape shape = slice.shape(), memory_shape = slice.memory_shape();
        for (std::int64_t i = 0; i < memory_shape.numel(); ++i) {
          if (shape.rank() < 2 || (i / memory_shape[1] < shape[0] && i % memory_shape[1] < shape[1])) continue;
          ++num_padding;
          num_wrong += values[usize(at + i)] == 0.0 ? 0 : 1;
        }
        at += memory_shape.numel();
      }
    }
    // 37 (softmax), 33 (UoE) and 21 neurons as 40, 40 and 24; ranks 11 as 16.
    const int per_expert = routing == "softmax" ? 3 * 3 * 48
                           : routing == "uoe"   ? 3 * 7 * 48
                                                : 2 * 3 * 48 + 153 + 5 * 48;
    CHECK(num_padding == 2 * 8 * per_expert);
    CHECK(num_wrong == 0);
  }
}

TEST_CASE("Sequences longer than the model was built for are refused") {
  TestDevice device;
  Job job(device, small_model("uoe", 16), DType::f32, 1e-3);
  const Tensor ids = tensor_of(job.context.allocator, {17}, DType::i32, std::vector<double>(17, 1.0));
  expect_contains(error_text([&] { job.model.logits(job.context, ids, 1); }), "max_position_embeddings = 16");
}
