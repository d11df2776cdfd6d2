#include <cmath>

#include "config/yaml.h"
#include "model/transformer.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/tensors.h"
#include "support/test_device.h"
#include "support/test_routers.h"

using namespace artel;

namespace {

ModelConfig tiny_model(const std::string& routing) {
  return parse_config(
             "model: {vocab_size: 32, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, "
             "num_key_value_heads: 2, max_position_embeddings: 8, num_experts: 5, num_experts_per_tok: 2, "
             "moe_intermediate_size: 12, shared_expert_intermediate_size: 9, initializer_range: 0.4, "
             "router_aux_loss_coef: 0.0, routing: {type: " +
                 routing + "}}\ndata: {train: [{path: unused.bin}]}\n",
             "tiny.yaml")
      .model;
}

RouterFactory factory_of(const std::string& method) {
  if (method == "top_p") return [](const RouterSetup& setup) { return std::make_unique<TopPRouter>(setup, 0.6); };
  if (method == "bias_balanced") {
    return [](const RouterSetup& setup) { return std::make_unique<BiasBalancedRouter>(setup, 0.05F); };
  }
  return make_router;
}

std::string routing_of(const std::string& method) {
  return method == "top_p" || method == "bias_balanced" ? "softmax" : method;
}

struct TinyModel {
  TinyModel(TestDevice& device, const std::string& method)
      : context(device.context()),
        world(make_self_communicator()),
        model(tiny_model(routing_of(method)), *world, factory_of(method)) {
    model.allocate(context, DType::f32);
    model.initialise(context, 3);
    std::vector<double> ids;
    std::vector<double> next;
    for (int i = 0; i < 16; ++i) {
      ids.push_back((i * 7 + 3) % 32);
      next.push_back((i * 11 + 5) % 32);
    }
    tokens = tensor_of(device.allocator, {16}, DType::i32, ids);
    targets = tensor_of(device.allocator, {16}, DType::i32, next);
    info.num_sequences = 2;
    info.tokens_per_step = 16;
    info.training = true;
  }

  double loss() {
    Context inference = context;
    inference.record_tape = false;
    return values_of(model.loss(inference, tokens, targets, info).data)[0] / 16.0;
  }

  Context context;
  std::unique_ptr<Communicator> world;
  Transformer model;
  Tensor tokens;
  Tensor targets;
  PassInfo info;
};

}  // namespace

TEST_CASE("Through every router the gradient of the whole model predicts how the loss changes") {
  const auto method = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe", "top_p", "bias_balanced");
  const bool recompute_blocks = GENERATE(false, true);
  INFO(method);
  TestDevice device;
  TinyModel tiny(device, method);
  tiny.info.recompute_blocks = recompute_blocks;
  ParameterStore& store = tiny.model.parameters();
  backward(tiny.context, {tiny.model.loss(tiny.context, tiny.tokens, tiny.targets, tiny.info)});
  const std::vector<double> gradient = values_of(store.gradients());
  const std::vector<double> start = values_of(store.values());
  // Along a few random directions; f32 forward passes resolve a difference of 2·step to about 1e-4 of itself.
  for (const char* name : {"first", "second", "third"}) {
    const std::vector<double> direction = random_values(name, gradient.size());
    const double expected = dot(gradient, direction);
    REQUIRE(std::abs(expected) > 1.0e-3);
    constexpr double step = 2.0e-4;
    const auto loss_at = [&](double distance) {
      std::vector<float> moved(start.size());
      for (std::size_t i = 0; i < moved.size(); ++i) moved[i] = static_cast<float>(start[i] + distance * direction[i]);
      tiny.context.backend.upload(moved.data(), store.values());
      return tiny.loss();
    };
    const double measured = (loss_at(step) - loss_at(-step)) / (2.0 * step);
    CHECK(measured == Approx(expected).epsilon(0.02).margin(2.0e-3));
  }
}

TEST_CASE("Tokens may have different numbers of experts, from one to all") {
  TestDevice device;
  TinyModel tiny(device, "top_p");
  tiny.loss();
  const std::vector<LayerStatistics> statistics = layer_statistics(tiny.model.take_statistics());
  std::int64_t assignments = 0;
  for (const std::int64_t count : statistics[0].expert_counts) assignments += count;
  CHECK(assignments >= 16);
  CHECK(assignments != 32);  // not K for each
}

TEST_CASE("Untrained state moves after a step and is named for checkpoints") {
  TestDevice device;
  TinyModel tiny(device, "bias_balanced");
  tiny.loss();
  const std::vector<LayerStatistics> statistics = layer_statistics(tiny.model.take_statistics());
  tiny.model.after_step(tiny.context, {{statistics[0].expert_counts}});
  const std::vector<RouterState> state = tiny.model.router_state();
  REQUIRE(state.size() == 1);
  CHECK(state[0].name == "model.layers.0.mlp.gate.e_score_correction_bias");
  const std::vector<double> bias = values_of(state[0].tensor);
  for (std::size_t i = 0; i < bias.size(); ++i) {
    const double load = static_cast<double>(statistics[0].expert_counts[i]);
    CHECK(bias[i] * (32.0 / 5.0 - load) > 0.0);
  }
}

TEST_CASE("Names of routers that the config accepts are those that can be built") {
  std::vector<std::string> names = router_names();
  std::vector<std::string> accepted = known_routing_types();
  std::sort(names.begin(), names.end());
  std::sort(accepted.begin(), accepted.end());
  CHECK(names == accepted);
  ModelConfig model = tiny_model("uoe");
  model.routing.type = "uoo";
  const auto world = make_self_communicator();
  expect_contains(error_text([&] { Transformer(model, *world); }), "did you mean 'uoe'");
}
