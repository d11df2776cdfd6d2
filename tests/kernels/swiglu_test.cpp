#include <cmath>
#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/swiglu.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

using reference::Vector;

struct Case {
  std::int64_t num_rows, width;
};
const std::vector<Case> cases{{0, 4}, {1, 1}, {3, 7}, {5, 16}, {2, 64}, {7, 33}, {130, 23}, {3, 700}};

void check(TestDevice& device, const Case& c, DType act, bool with_weights) {
  GuardedTensors tensors(device);
  const std::size_t width = usize(c.width);
  const std::size_t count = usize(c.num_rows) * width;
  const Vector gate_up_values = random_values("gate_up", 2 * count, 2.0, act);
  const Vector weight_values = with_weights ? random_values("weights", usize(c.num_rows)) : Vector();
  const Vector dhidden_values = random_values("dhidden", count, 1.0, act);
  const Tensor gate_up = tensors.input("gate_up", {c.num_rows, 2, c.width}, act, gate_up_values);
  const Tensor weights = with_weights ? tensors.input("weights", {c.num_rows}, DType::f32, weight_values) : Tensor();
  const Tensor hidden = tensors.output("hidden", {c.num_rows, c.width}, act);
  device.backend.swiglu(gate_up, weights, hidden);
  expect_close("hidden", hidden, reference::swiglu(gate_up_values, weight_values, width), 1);

  const Tensor dhidden = tensors.input("dhidden", {c.num_rows, c.width}, act, dhidden_values);
  const Tensor dgate_up = tensors.output("dgate_up", {c.num_rows, 2, c.width}, act);
  const Tensor dweights = with_weights ? tensors.output("dweights", {c.num_rows}, DType::f32) : Tensor();
  device.backend.swiglu_backward(gate_up, weights, dhidden, dgate_up, dweights);
  const auto expected = reference::swiglu_backward(gate_up_values, weight_values, width, dhidden_values);
  expect_close("dgate_up", dgate_up, expected.dgate_up, 1);
  if (with_weights) {
    const double scale = largest(dhidden_values) * largest(reference::swiglu(gate_up_values, {}, width));
    expect_close("dweights", dweights, expected.dweights, width, largest(expected.dweights) + scale);
  }
  tensors.expect_intact();
}

TEST_CASE("swiglu and its gradients agree with the reference, with and without weights") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      for (const DType act : act_types) {
        for (const bool with_weights : {false, true}) {
          INFO("[" << c.num_rows << ", " << c.width << "] " << dtype_name(act) << " weights " << with_weights);
          check(device, c, act, with_weights);
        }
      }
    }
  });
}

TEST_CASE("swiglu stays finite and exact where the exponential overflows or vanishes") {
  const Vector gates{-1.0e30, -1000.0, -104.0, -90.0, -88.5, -30.0, -1.0e-30, 0.0, 1.0e-30, 20.0, 89.0, 1000.0, 1.0e30};
  for_each_device([&](TestDevice& device) {
    for (const std::size_t repeats : {1U, 3U}) {
      Vector row;
      for (std::size_t i = 0; i < repeats; ++i) row.insert(row.end(), gates.begin(), gates.end());
      const std::size_t width = row.size();
      Vector gate_up_values = row;
      gate_up_values.resize(2 * width, 0.5);
      gate_up_values = rounded(gate_up_values, DType::f32);
      const Vector dhidden_values(width, 1.0);
      const auto columns = static_cast<std::int64_t>(width);
      GuardedTensors tensors(device);
      const Tensor gate_up = tensors.input("gate_up", {1, 2, columns}, DType::f32, gate_up_values);
      const Tensor dhidden = tensors.input("dhidden", {1, columns}, DType::f32, dhidden_values);
      const Tensor hidden = tensors.output("hidden", {1, columns}, DType::f32);
      const Tensor dgate_up = tensors.output("dgate_up", {1, 2, columns}, DType::f32);
      device.backend.swiglu(gate_up, {}, hidden);
      device.backend.swiglu_backward(gate_up, {}, dhidden, dgate_up, {});
      // Relative: each element stands alone, no sum. An exponential may flush what is below 2^-126 to zero.
      const Tolerance tolerance{1.0e-35, 16.0 * 0x1p-24};
      expect_close("hidden", values_of(hidden), reference::swiglu(gate_up_values, {}, width), tolerance);
      const auto expected = reference::swiglu_backward(gate_up_values, {}, width, dhidden_values);
      for (std::size_t i = 0; i < 2 * width; ++i) CHECK(std::isfinite(values_of(dgate_up)[i]));
      expect_close("dgate_up", dgate_up, expected.dgate_up, 1, 1.0);
      tensors.expect_intact();
    }
  });
}

NamedTensors run_all(TestDevice& device, std::int64_t num_rows) {
  Allocator& allocator = device.allocator;
  const auto random = [&](const char* name, const Shape& shape, DType dtype) {
    return tensor_of(allocator, shape, dtype, random_values(name, usize(shape.numel())));
  };
  const Tensor gate_up = random("gate_up", {num_rows, 2, 40}, DType::bf16);
  const Tensor weights = random("weights", {num_rows}, DType::f32);
  const Tensor hidden = Tensor::empty(allocator, {num_rows, 40}, DType::bf16);
  device.backend.swiglu(gate_up, weights, hidden);
  const Tensor dgate_up = Tensor::empty(allocator, {num_rows, 2, 40}, DType::bf16);
  const Tensor dweights = Tensor::empty(allocator, {num_rows}, DType::f32);
  device.backend.swiglu_backward(gate_up, weights, random("dhidden", {num_rows, 40}, DType::bf16), dgate_up, dweights);
  return {{"hidden", hidden}, {"dgate_up", dgate_up}, {"dweights", dweights}};
}

TEST_CASE("swiglu gives the same bits on every run") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 1100); });
}

TEST_CASE("swiglu gives the same bits on every run, 16,384 tokens", "[slow]") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 16384); });
}

TEST_CASE("swiglu refuses wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  const auto make = [&](const Shape& shape, DType dtype = DType::f32) {
    return Tensor::empty(device.allocator, shape, dtype);
  };
  const Tensor gate_up = make({3, 2, 4}), weights = make({3}), hidden = make({3, 4}), none;
  const auto forward = [&](In g, In w, Out h) { return requirement_of([&] { device.backend.swiglu(g, w, h); }); };
  expect_contains(forward(make({3, 8}), none, hidden), "[swiglu] required gate_up");
  expect_contains(forward(make({3, 3, 4}), none, hidden), "[swiglu] required gate_up");
  expect_contains(forward(gate_up, make({4}), hidden), "[swiglu] required weights");
  expect_contains(forward(gate_up, make({3}, DType::bf16), hidden), "[swiglu] required weights");
  expect_contains(forward(gate_up, none, make({3, 4}, DType::bf16)), "[swiglu] required hidden");
  const auto backward = [&](In w, In dhidden, Out dgate_up, Out dweights) {
    return requirement_of([&] { device.backend.swiglu_backward(gate_up, w, dhidden, dgate_up, dweights); });
  };
  expect_contains(backward(none, make({3, 5}), make({3, 2, 4}), none), "[swiglu_backward] required dhidden");
  expect_contains(backward(none, hidden, make({3, 2, 5}), none), "[swiglu_backward] required dgate_up");
  expect_contains(backward(weights, hidden, make({3, 2, 4}), make({2})), "[swiglu_backward] required dweights");
}

}  // namespace
}  // namespace artel
