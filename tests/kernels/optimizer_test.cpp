#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/optimizer.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

using reference::Vector;

const std::vector<std::int64_t> lengths{0, 1, 7, 16, 33, 64, 1003, 20001};

AdamWOptions options_at(std::int64_t step) {
  AdamWOptions options;
  options.lr = 0.01F;
  options.weight_decay = 0.1F;
  options.step = step;
  return options;
}

Vector squares(Vector values) {
  for (double& value : values) value *= value;
  return rounded(values, DType::f32);
}

void check_step(TestDevice& device, std::int64_t length, std::int64_t step, bool with_param) {
  GuardedTensors tensors(device);
  const std::size_t count = usize(length);
  const bool first = step == 1;
  const Vector gradient = random_values("grad", count);
  const reference::AdamWState state{random_values("master", count),
                                    first ? Vector(count, 0.0) : random_values("exp_avg", count, 0.3),
                                    first ? Vector(count, 0.0) : squares(random_values("exp_avg_sq", count))};
  const Tensor grad = tensors.input("grad", {length}, DType::f32, gradient);
  const Tensor grad_scale = tensors.input("grad_scale", {1}, DType::f32, {0.37});
  const Tensor master = tensors.updated("master", {length}, DType::f32, state.master);
  const Tensor exp_avg = tensors.updated("exp_avg", {length}, DType::f32, state.exp_avg);
  const Tensor exp_avg_sq = tensors.updated("exp_avg_sq", {length}, DType::f32, state.exp_avg_sq);
  const Tensor param = with_param ? tensors.output("param", {length}, DType::bf16) : Tensor();
  const AdamWOptions options = options_at(step);
  device.backend.adamw(grad, grad_scale, options, master, exp_avg, exp_avg_sq, param);

  const auto scale = static_cast<double>(0.37F);
  const auto expected = reference::adamw(gradient, scale, options, state);
  expect_close("master", master, expected.master, 1);
  expect_close("exp_avg", exp_avg, expected.exp_avg, 1);
  expect_close("exp_avg_sq", exp_avg_sq, expected.exp_avg_sq, 1);
  // The update is far smaller than the weights: what changed is compared by itself, up to the rounding of the weights.
  Vector moved = values_of(master);
  Vector expected_move = expected.master;
  for (std::size_t i = 0; i < count; ++i) {
    moved[i] -= state.master[i];
    expected_move[i] -= state.master[i];
  }
  expect_close("update", moved, expected_move, {4.0 * 0x1p-24 * largest(state.master), 16.0 * 0x1p-24});
  if (with_param) expect_equal("param", param, rounded(values_of(master), DType::bf16));
  tensors.expect_intact();
}

TEST_CASE("adamw agrees with the reference at the first and at later steps") {
  for_each_device([](TestDevice& device) {
    for (const std::int64_t length : lengths) {
      for (const std::int64_t step : {1, 2, 10, 100000}) {
        for (const bool with_param : {false, true}) {
          INFO(length << " elements, step " << step << ", bf16 copy " << with_param);
          check_step(device, length, step, with_param);
        }
      }
    }
  });
}

TEST_CASE("adamw leaves a weight without gradient and decay where it is") {
  TestDevice device;
  Allocator& allocator = device.allocator;
  const auto zeros = [&] { return tensor_of(allocator, {5}, DType::f32, Vector(5, 0.0)); };
  const Tensor master = tensor_of(allocator, {5}, DType::f32, {1.0, -2.0, 0.0, 1e-30, 3.0});
  const Tensor scale = tensor_of(allocator, {1}, DType::f32, {1.0});
  AdamWOptions options;
  options.lr = 0.1F;
  device.backend.adamw(zeros(), scale, options, master, zeros(), zeros(), {});
  expect_equal("master", master, rounded({1.0, -2.0, 0.0, 1e-30, 3.0}, DType::f32));
}

TEST_CASE("adamw changes nothing where the scale of the gradient is NaN") {
  for_each_device([](TestDevice& device) {
    for (const std::int64_t length : {1, 64, 1003}) {
      INFO(length << " elements");
      GuardedTensors tensors(device);
      const std::size_t count = usize(length);
      const Vector before = random_values("x", count);
      const Tensor grad = tensors.input("grad", {length}, DType::f32, Vector(count, std::nan("")));
      const Tensor scale = tensors.input("grad_scale", {1}, DType::f32, {std::nan("")});
      const Tensor master = tensors.updated("master", {length}, DType::f32, before);
      const Tensor exp_avg = tensors.updated("exp_avg", {length}, DType::f32, before);
      const Tensor exp_avg_sq = tensors.updated("exp_avg_sq", {length}, DType::f32, squares(before));
      const Tensor param = tensors.updated("param", {length}, DType::bf16, before);
      device.backend.adamw(grad, scale, options_at(3), master, exp_avg, exp_avg_sq, param);
      expect_equal("master", master, rounded(before, DType::f32));
      expect_equal("exp_avg", exp_avg, rounded(before, DType::f32));
      expect_equal("exp_avg_sq", exp_avg_sq, squares(before));
      expect_equal("param", param, rounded(before, DType::bf16));
      tensors.expect_intact();
    }
  });
}

TEST_CASE("gradient_scale clips by the norm and refuses what no step may be made of") {
  struct Case {
    double squares, loss, max_norm, scale;
  };
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::nan("");
  const std::vector<Case> cases{{4.0, 1.0, 1.0, 0.5},       {4.0, 1.0, 2.0, 1.0},
                                {4.0, 1.0, 3.0, 1.0},       {0.0, 0.0, 1.0, 1.0},
                                {9.0, 1.0, 0.0, 1.0},       {1.0e60, 1.0, 1.0, 1.0e-30},
                                {1.0e38, 1.0, 0.0, 1.0},    {1.0e39, 1.0, 0.0, nan},
                                {1.0e39, 1.0, 2.0e19, nan}, {1.0e39, 1.0, 1.0e19, 1.0e19 / std::sqrt(1.0e39)},
                                {inf, 1.0, 1.0, nan},       {nan, 1.0, 1.0, nan},
                                {4.0, inf, 1.0, nan},       {4.0, -inf, 0.0, nan},
                                {4.0, nan, 1.0, nan}};
  for_each_device([&](TestDevice& device) {
    for (const Case& c : cases) {
      INFO(c.squares << ", loss " << c.loss << ", at most " << c.max_norm);
      GuardedTensors tensors(device);
      const Tensor figures = tensors.input("figures", {2}, DType::f64, {c.squares, c.loss});
      const Tensor scale = tensors.output("scale", {1}, DType::f32);
      device.backend.gradient_scale(figures, c.max_norm, scale);
      const double found = values_of(scale)[0];
      if (std::isnan(c.scale)) {
        CHECK(std::isnan(found));
      } else {
        CHECK(found == static_cast<double>(static_cast<float>(c.scale)));
      }
      tensors.expect_intact();
    }
  });
}

TEST_CASE("add_up adds one number after the other to what is there") {
  for_each_device([](TestDevice& device) {
    // In this order the ones are lost, in another they are not.
    const Vector values{1.0, 0x1p53, 1.0, 1.0, -0x1p53, 0.25};
    GuardedTensors tensors(device);
    const Tensor x = tensors.input("x", {6}, DType::f64, values);
    const Tensor none = tensors.input("none", {0}, DType::f64, {});
    const Tensor sum = tensors.updated("sum", {1}, DType::f64, {2.0});
    device.backend.add_up(none, sum);
    expect_equal("sum", sum, {2.0});
    device.backend.add_up(x, sum);
    double expected = 2.0;
    for (const double value : values) expected += value;
    expect_equal("sum", sum, {expected});
    tensors.expect_intact();
  });
}

TEST_CASE("sum_of_squares adds up in double precision") {
  for_each_device([](TestDevice& device) {
    for (const std::int64_t length : {0, 1, 17, 1003, 200003}) {
      INFO(length << " elements");
      GuardedTensors tensors(device);
      Vector values = random_values("x", usize(length));
      if (length > 1) values[length / 2] = 1.0e5;
      const Tensor x = tensors.input("x", {length}, DType::f32, values);
      const Tensor sum = tensors.output("sum", {1}, DType::f64);
      device.backend.sum_of_squares(x, sum);
      const Vector stored = rounded(values, DType::f32);
      const double rounding = 8.0 * 0x1p-53 * std::sqrt(static_cast<double>(length));
      expect_close("sum", values_of(sum), {dot(stored, stored)}, {0.0, rounding});
      tensors.expect_intact();
    }
  });
}

NamedTensors run_all(TestDevice& device, std::int64_t count) {
  Allocator& allocator = device.allocator;
  const auto random = [&](const char* name) {
    return tensor_of(allocator, {count}, DType::f32, random_values(name, usize(count)));
  };
  const Tensor grad = random("grad"), master = random("master"), exp_avg = random("exp_avg");
  const Tensor exp_avg_sq = tensor_of(allocator, {count}, DType::f32, squares(random_values("sq", usize(count))));
  const Tensor param = Tensor::empty(allocator, {count}, DType::bf16);
  const Tensor scale = tensor_of(allocator, {1}, DType::f32, {0.5});
  device.backend.adamw(grad, scale, options_at(3), master, exp_avg, exp_avg_sq, param);
  const Tensor sum = Tensor::empty(allocator, {1}, DType::f64);
  device.backend.sum_of_squares(grad, sum);
  return {{"master", master}, {"exp_avg", exp_avg}, {"exp_avg_sq", exp_avg_sq}, {"param", param}, {"sum", sum}};
}

TEST_CASE("adamw and sum_of_squares give the same bits on every run") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 300007); });
}

TEST_CASE("adamw and sum_of_squares refuse wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  const auto make = [&](const Shape& shape, DType dtype = DType::f32) {
    return Tensor::empty(device.allocator, shape, dtype);
  };
  const Tensor x = make({4}), scale = make({1});
  const auto run = [&](In grad, In grad_scale, InOut master, InOut exp_avg, InOut exp_avg_sq, Out param) {
    return requirement_of(
        [&] { device.backend.adamw(grad, grad_scale, options_at(1), master, exp_avg, exp_avg_sq, param); });
  };
  expect_contains(run(make({4}, DType::bf16), scale, x, x, x, {}), "[adamw] required grad");
  expect_contains(run(x, scale, make({4}, DType::bf16), x, x, {}), "[adamw] required master");
  expect_contains(run(x, make({2}), x, x, x, {}), "[adamw] required grad_scale");
  expect_contains(run(make({5}), scale, x, x, x, {}), "[adamw] required grad");
  expect_contains(run(x, scale, x, make({4}, DType::bf16), x, {}), "[adamw] required exp_avg");
  expect_contains(run(x, scale, x, x, make({3}), {}), "[adamw] required exp_avg_sq");
  expect_contains(run(x, scale, x, x, x, make({4})), "[adamw] required param");
  expect_contains(requirement_of([&] { device.backend.sum_of_squares(x, make({2}, DType::f64)); }),
                  "[sum_of_squares] required sum");
  expect_contains(requirement_of([&] { device.backend.sum_of_squares(make({4}, DType::i32), make({1}, DType::f64)); }),
                  "[sum_of_squares] required x");
  const Tensor figures = make({2}, DType::f64), number = make({1}, DType::f64);
  expect_contains(requirement_of([&] { device.backend.gradient_scale(x, 1.0, scale); }),
                  "[gradient_scale] required figures");
  expect_contains(requirement_of([&] { device.backend.gradient_scale(figures, 1.0, number); }),
                  "[gradient_scale] required scale");
  expect_contains(requirement_of([&] { device.backend.add_up(x, number); }), "[add_up] required x");
  expect_contains(requirement_of([&] { device.backend.add_up(figures, scale); }), "[add_up] required sum");
}

}  // namespace
}  // namespace artel
