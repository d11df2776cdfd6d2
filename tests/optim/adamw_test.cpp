#include "optim/adamw.h"

#include <cmath>
#include <limits>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/golden.h"
#include "support/tensors.h"
#include "support/test_device.h"

using namespace artel;

namespace {

Parameter parameter_of(const std::string& name, const Shape& shape) {
  Parameter parameter;
  parameter.name = name;
  parameter.shape = shape;
  parameter.weight_decay = shape.rank() > 1;
  parameter.slices = {whole_slice(name, shape)};
  return parameter;
}

// Row `step` of a golden tensor [10, …].
std::vector<double> row_of(const GoldenTensor& tensor, std::int64_t step) {
  const std::int64_t inner = tensor.shape.inner();
  return {tensor.values.begin() + step * inner, tensor.values.begin() + (step + 1) * inner};
}

void upload(Context& context, const std::vector<double>& values, const Tensor& tensor) {
  const std::vector<float> floats(values.begin(), values.end());
  context.backend.upload(floats.data(), tensor);
}

}  // namespace

TEST_CASE("Ten steps of AdamW with clipping and decay on matrices equal PyTorch's") {
  const Golden golden("adamw");
  const std::string json_path = std::string(ARTEL_SOURCE_DIR) + "/tests/golden/adamw.json";
  const Json settings = parse_json(read_file(json_path), json_path);
  TestDevice device;
  Context context = device.context();
  ParameterStore store;
  const std::string suffix = ".initial";
  for (const auto& [key, tensor] : golden.tensors()) {
    if (key.size() <= suffix.size() || key.substr(key.size() - suffix.size()) != suffix) continue;
    store.declare(parameter_of(key.substr(0, key.size() - suffix.size()), tensor.shape));
  }
  REQUIRE(store.parameters().size() > 1);
  store.allocate(context, DType::f32);
  for (const Parameter& parameter : store.parameters()) {
    upload(context, golden.at(parameter.name + ".initial").values, ParameterStore::view_of(parameter, store.values()));
  }
  OptimizerConfig config;
  config.grad_clip = settings.at("grad_clip").get<double>();
  config.weight_decay = settings.at("weight_decay").get<double>();
  AdamW optimizer(context, store, config);
  for (std::int64_t step = 0; step < 10; ++step) {
    for (const Parameter& parameter : store.parameters()) {
      upload(context, row_of(golden.at(parameter.name + ".gradients"), step),
             ParameterStore::view_of(parameter, store.gradients()));
    }
    const StepResult result =
        optimizer.step(context, golden.at("learning_rates").values[static_cast<std::size_t>(step)], step + 1);
    REQUIRE(result.applied);
    CHECK(result.grad_norm == Approx(golden.at("gradient_norms").values[static_cast<std::size_t>(step)]).epsilon(1e-6));
    for (const Parameter& parameter : store.parameters()) {
      const std::vector<double> expected = row_of(golden.at(parameter.name + ".after"), step);
      // PyTorch in fp32 is within 3e-7; a few roundings a step.
      expect_close(parameter.name, values_of(ParameterStore::view_of(parameter, store.values())), expected,
                   {2.0e-6 * largest(expected), 0.0});
    }
  }
}

TEST_CASE("A gradient that is not finite changes nothing") {
  TestDevice device;
  Context context = device.context();
  ParameterStore store;
  store.declare(parameter_of("w", {4, 4}));
  store.allocate(context, DType::bf16);
  context.backend.fill(store.masters(), 1.0F);
  store.refresh_values(context);
  AdamW optimizer(context, store, OptimizerConfig{});
  const std::string masters = bytes_of(store.masters());
  const std::string values = bytes_of(store.values());
  const double bad = GENERATE(std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity());
  std::vector<double> gradient(16, 0.5);
  gradient[7] = bad;
  upload(context, gradient, ParameterStore::view_of(store.parameters().front(), store.gradients()));
  CHECK_FALSE(optimizer.step(context, 0.1, 1).applied);
  CHECK(bytes_of(store.masters()) == masters);
  CHECK(bytes_of(store.values()) == values);
  for (const double moment : values_of(optimizer.exp_avg())) CHECK(moment == 0.0);
}
