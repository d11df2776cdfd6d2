#include <cmath>

#include "model/transformer.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/golden.h"
#include "support/tensors.h"
#include "support/test_device.h"

// The whole model against goldens of an independent PyTorch implementation: logits, loss, auxiliary losses, every
// gradient. Tolerance: PyTorch in fp32 differs from these float64 results by up to 4e-6 of a tensor's largest value;
// another order of summation through two layers may double that several times over, so 4e-5.

using namespace artel;

namespace {

constexpr double relative_to_largest = 4.0e-5;

void check(const std::string& name, const Tensor& actual, const std::vector<double>& expected) {
  expect_close(name, values_of(actual), expected, {relative_to_largest * largest(expected), 0.0});
}

void check_golden(const std::string& name, bool recompute_blocks) {
  const Golden golden(name);
  const Config config = golden.config();
  TestDevice device(2);
  Context context = device.context();
  const auto world = make_self_communicator();
  Transformer model(config.model, *world);
  model.allocate(context, DType::f32);
  golden.load_weights(context, model.parameters());

  PassInfo info;
  info.num_sequences = golden.at("tokens").shape[0];
  info.step = 1;
  info.training = true;
  info.tokens_per_step = golden.at("tokens").shape.numel();
  info.recompute_blocks = recompute_blocks;
  const Tensor ids = golden.ids(context, "tokens");
  check("logits", model.logits(context, ids, info.num_sequences), golden.at("logits").values);

  const Variable loss = model.loss(context, ids, golden.ids(context, "targets"), info);
  const double mean = values_of(loss.data)[0] / static_cast<double>(info.tokens_per_step);
  CHECK(mean == Approx(golden.at("loss").values[0]).epsilon(1e-6));
  backward(context, {loss});
  for (const Parameter& parameter : model.parameters().parameters()) {
    const Tensor gradient = ParameterStore::view_of(parameter, model.parameters().gradients());
    const std::vector<double> expected = golden.parameter_values(parameter, "grads.");
    REQUIRE(largest(expected) > 1.0e-6);  // a gradient of zero would prove nothing
    check("gradient of " + parameter.name, gradient, expected);
  }

  double balance = 0.0;
  double z = 0.0;
  const std::vector<LayerStatistics> layers = layer_statistics(model.take_statistics());
  for (const LayerStatistics& layer : layers) {
    balance += layer.auxiliary.balance / static_cast<double>(layers.size());
    z += layer.auxiliary.z / static_cast<double>(layers.size());
  }
  CHECK(balance == Approx(golden.at("aux_loss").values[0]).epsilon(1e-5));
  CHECK(z == Approx(golden.at("z_loss").values[0]).epsilon(1e-5));
}

}  // namespace

TEST_CASE("A model's logits, losses and every gradient equal those of PyTorch") {
  const auto name = GENERATE(as<std::string>{}, "softmax_shared", "softmax_no_shared_no_norm", "uoe_default",
                             "uoe_glu_l1_scaled", "uoe_no_norm", "aoe_norm", "aoe_no_norm", "dense_qknorm_tied");
  const bool recompute_blocks = GENERATE(false, true);
  INFO(name << (recompute_blocks ? ", blocks recomputed" : ""));
  check_golden(name, recompute_blocks);
}
