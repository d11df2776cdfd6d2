#include "inspect/dense_experts.h"

#include <cmath>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/golden.h"
#include "support/tensors.h"
#include "support/test_device.h"

// Norms against naive loops in double precision over the weights as PyTorch named them: nothing is shared with the code
// under test but the file of weights.

namespace artel {
namespace {

using Values = std::vector<double>;

// y [out] = weight [out, in] · x [in].
Values times(const GoldenTensor& weight, const Values& x) {
  const auto columns = static_cast<std::size_t>(weight.shape[1]);
  Values y(static_cast<std::size_t>(weight.shape[0]), 0.0);
  for (std::size_t i = 0; i < y.size(); ++i) {
    for (std::size_t j = 0; j < columns; ++j) y[i] += weight.values[i * columns + j] * x[j];
  }
  return y;
}

double silu(double x) {
  return x / (1.0 + std::exp(-x));
}

double norm(const Values& x, std::size_t first = 0) {
  double sum = 0.0;
  for (std::size_t i = first; i < x.size(); ++i) sum += x[i] * x[i];
  return std::sqrt(sum);
}

// What one expert does with one token.
struct NaiveExpert {
  Values activated;  // SiLU(gate)
  Values hidden;
  Values output;
  Values bidding_output;  // of its first S neurons alone

  NaiveExpert(const Golden& golden, const std::string& prefix, const Values& x, std::size_t num_bidding) {
    const auto weight = [&](const char* name) { return golden.at("weights." + prefix + name + ".weight"); };
    const bool factorised = golden.tensors().count("weights." + prefix + "gate_down_proj.weight") > 0;
    const Values gate =
        factorised ? times(weight("gate_up_proj"), times(weight("gate_down_proj"), x)) : times(weight("gate_proj"), x);
    const Values up = times(weight("up_proj"), x);
    for (std::size_t i = 0; i < gate.size(); ++i) {
      activated.push_back(silu(gate[i]));
      hidden.push_back(activated[i] * up[i]);
    }
    output = times(weight("down_proj"), hidden);
    Values bidding = hidden;
    for (std::size_t i = num_bidding; i < bidding.size(); ++i) bidding[i] = 0.0;
    bidding_output = times(weight("down_proj"), bidding);
  }
};

void add(Values& to, const Values& from) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

// What one layer does with x [T, d].
struct NaiveLayer {
  Values gate_activation, activation, output, rest;  // [T, N]
  Values shared;                                     // [T, d]

  NaiveLayer(const Golden& golden, const ModelConfig& model, int layer, const Values& x) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".mlp.";
    const auto width = static_cast<std::size_t>(model.hidden_size);
    const bool uoe = model.routing.type == "uoe";
    const std::size_t num_bidding = uoe ? static_cast<std::size_t>(model.routing.uoe.routing_neurons) : 0;
    for (std::size_t t = 0; t < x.size() / width; ++t) {
      const Values token(x.begin() + static_cast<std::ptrdiff_t>(t * width),
                         x.begin() + static_cast<std::ptrdiff_t>((t + 1) * width));
      Values of_token(width, 0.0);
      for (std::int64_t i = 0; i < model.num_experts; ++i) {
        const NaiveExpert expert(golden, prefix + "experts." + std::to_string(i) + ".", token, num_bidding);
        gate_activation.push_back(norm(expert.activated));
        activation.push_back(norm(expert.hidden));
        output.push_back(norm(expert.output));
        if (uoe) rest.push_back(norm(expert.activated, num_bidding));
        if (uoe) add(of_token, expert.bidding_output);
      }
      if (!uoe && model.shared_expert_intermediate_size > 0) {
        of_token = NaiveExpert(golden, prefix + "shared_expert.", token, 0).output;
      }
      shared.insert(shared.end(), of_token.begin(), of_token.end());
    }
  }
};

struct LoadedModel {
  explicit LoadedModel(const std::string& name)
      : golden(name),
        config(golden.config()),
        context(device.context()),
        world(make_self_communicator()),
        model(config.model, *world) {
    model.allocate(context, DType::f32);
    golden.load_weights(context, model.parameters());
  }

  Golden golden;
  Config config;
  TestDevice device{2};
  Context context;
  std::unique_ptr<Communicator> world;
  Transformer model;
};

TEST_CASE("what every expert does with every token equals naive loops over the stored weights") {
  const auto name = GENERATE(as<std::string>{}, "softmax_shared", "softmax_no_shared_no_norm", "uoe_default",
                             "uoe_glu_l1_scaled", "aoe_norm");
  INFO(name);
  LoadedModel loaded(name);
  const ModelConfig& model = loaded.config.model;
  const Values x = random_values("x", usize(7 * model.hidden_size));
  const Tensor input = tensor_of(loaded.device.allocator, {7, model.hidden_size}, DType::f32, x);
  const DenseExperts experts(model, loaded.model.parameters());
  // The longest chain of sums: a product over d, r or D, and a norm behind it.
  const std::size_t length = usize(model.hidden_size + model.moe_intermediate_size);
  for (int layer = 0; layer < model.num_hidden_layers; ++layer) {
    const NaiveLayer expected(loaded.golden, model, layer, x);
    const ExpertNorms norms = experts.norms(loaded.context, layer, input);
    const auto close = [&](const char* what, const Values& found, const Values& wanted) {
      REQUIRE(found.size() == wanted.size());
      if (!wanted.empty()) expect_close(what, found, wanted, tolerance_for(DType::f32, length, largest(wanted)));
    };
    close("gate activation", norms.gate_activation, expected.gate_activation);
    close("activation", norms.activation, expected.activation);
    close("output", norms.output, expected.output);
    close("rest", norms.rest, expected.rest);
    CHECK(norms.rest.empty() == (model.routing.type != "uoe"));
    if (experts.shared_kind() != SharedKind::none) {
      close("shared", values_of(experts.shared_output(loaded.context, layer, input)), expected.shared);
    }
  }
  const SharedKind kind = model.routing.type == "uoe"                  ? SharedKind::virtual_expert
                          : model.shared_expert_intermediate_size == 0 ? SharedKind::none
                                                                       : SharedKind::real;
  CHECK(experts.shared_kind() == kind);
}

TEST_CASE("a silenced shared expert adds nothing") {
  LoadedModel loaded("softmax_shared");
  const ModelConfig& model = loaded.config.model;
  const DenseExperts experts(model, loaded.model.parameters());
  experts.silence_shared(loaded.context);
  const Tensor x = tensor_of(loaded.device.allocator, {3, model.hidden_size}, DType::f32,
                             random_values("x", usize(3 * model.hidden_size)));
  CHECK(largest(values_of(experts.shared_output(loaded.context, 1, x))) == 0.0);
}

TEST_CASE("models that cannot be looked at are refused") {
  LoadedModel loaded("softmax_no_shared_no_norm");
  const DenseExperts experts(loaded.config.model, loaded.model.parameters());
  CHECK(error_text([&] { experts.silence_shared(loaded.context); }) ==
        "[inspect] required a model with a shared expert, found one without");
  Transformer half(loaded.config.model, *loaded.world);
  half.allocate(loaded.context, DType::bf16);
  CHECK(error_text([&] { DenseExperts(loaded.config.model, half.parameters()); }) ==
        "[inspect] required a model in fp32, found one in bf16");
}

}  // namespace
}  // namespace artel
