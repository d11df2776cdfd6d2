#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/norm.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

using reference::Vector;

struct Case {
  std::int64_t num_tokens, hidden_size;
};
const std::vector<Case> cases{{0, 8},  {1, 1},   {1, 64},   {3, 7},    {5, 16},
                              {9, 33}, {2, 100}, {4, 1027}, {600, 24}, {2, 12288}};
constexpr float eps = 1.0e-5F;

void check_forward(TestDevice& device, const Case& c, DType act, bool with_delta) {
  GuardedTensors tensors(device);
  const Shape shape{c.num_tokens, c.hidden_size};
  const std::size_t count = usize(shape.numel());
  Vector x_values = random_values("x", count, 2.0, act);
  Vector delta_values = random_values("delta", count, 1.0, act);
  const std::size_t d = usize(c.hidden_size);
  if (c.num_tokens > 1) std::fill_n(x_values.begin(), d, 0.0), std::fill_n(delta_values.begin(), d, 0.0);
  const Vector w_values = random_values("w", d, 1.0, act);
  const Tensor x = tensors.input("x", shape, act, x_values);
  const Tensor delta = with_delta ? tensors.input("delta", shape, act, delta_values) : Tensor();
  const Tensor w = tensors.input("w", {c.hidden_size}, act, w_values);
  const Tensor sum = with_delta ? tensors.output("sum", shape, act) : Tensor();
  const Tensor y = tensors.output("y", shape, act);
  const Tensor rstd = tensors.output("rstd", {c.num_tokens}, DType::f32);
  device.backend.rms_norm(x, delta, w, eps, sum, y, rstd);

  Vector normed = x_values;
  if (with_delta) {
    for (std::size_t i = 0; i < count; ++i) {
      normed[i] = static_cast<double>(static_cast<float>(x_values[i]) + static_cast<float>(delta_values[i]));
    }
    normed = rounded(normed, act);
    expect_equal("sum", sum, normed);
  }
  const auto expected = reference::rms_norm(normed, w_values, static_cast<double>(eps));
  expect_close("rstd", rstd, expected.rstd, d);
  expect_close("y", y, expected.y, d);
  tensors.expect_intact();
}

void check_backward(TestDevice& device, const Case& c, DType act, Accumulate accumulate) {
  GuardedTensors tensors(device);
  const Shape shape{c.num_tokens, c.hidden_size};
  const std::size_t count = usize(shape.numel());
  const std::size_t d = usize(c.hidden_size);
  const Vector x_values = random_values("x", count, 2.0, act);
  const Vector w_values = random_values("w", d, 1.0, act);
  const Vector dy_values = random_values("dy", count, 1.0, act);
  const Vector dx_start = random_values("dx", count, 1.0, act);
  const Vector dw_start = random_values("dw", d);
  const Vector rstd_values = reference::rms_norm(x_values, w_values, static_cast<double>(eps)).rstd;
  const Tensor x = tensors.input("x", shape, act, x_values);
  const Tensor w = tensors.input("w", {c.hidden_size}, act, w_values);
  const Tensor rstd = tensors.input("rstd", {c.num_tokens}, DType::f32, rstd_values);
  const Tensor dy = tensors.input("dy", shape, act, dy_values);
  const Tensor dx = tensors.result("dx", shape, act, accumulate == Accumulate::yes, dx_start);
  const Tensor dw = tensors.updated("dw", {c.hidden_size}, DType::f32, dw_start);
  device.backend.rms_norm_backward(x, w, rstd, dy, dx, accumulate, dw);

  auto expected = reference::rms_norm_backward(x_values, w_values, static_cast<double>(eps), dy_values);
  const double scale = largest(dy_values) * largest(w_values) * largest(rstd_values);
  for (std::size_t i = 0; i < count && accumulate == Accumulate::yes; ++i) expected.dx[i] += dx_start[i];
  for (std::size_t i = 0; i < d; ++i) expected.dw[i] += dw_start[i];
  expect_close("dx", dx, expected.dx, d, largest(expected.dx) + scale);
  expect_close("dw", dw, expected.dw, usize(c.num_tokens));
  tensors.expect_intact();
}

TEST_CASE("rms_norm agrees with the reference, with and without a residual") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      for (const DType act : act_types) {
        for (const bool with_delta : {false, true}) {
          INFO("[" << c.num_tokens << ", " << c.hidden_size << "] " << dtype_name(act) << " delta " << with_delta);
          check_forward(device, c, act, with_delta);
        }
      }
    }
  });
}

TEST_CASE("gradients of rms_norm agree with the reference, overwriting or adding") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      for (const DType act : act_types) {
        for (const Accumulate accumulate : {Accumulate::no, Accumulate::yes}) {
          INFO("[" << c.num_tokens << ", " << c.hidden_size << "] " << dtype_name(act) << " accumulate "
                   << (accumulate == Accumulate::yes));
          check_backward(device, c, act, accumulate);
        }
      }
    }
  });
}

NamedTensors run_all(TestDevice& device, std::int64_t num_tokens) {
  Allocator& allocator = device.allocator;
  const Shape shape{num_tokens, 64};
  const auto random = [&](const char* name, const Shape& s, DType dtype) {
    return tensor_of(allocator, s, dtype, random_values(name, usize(s.numel())));
  };
  const Tensor w = random("w", {64}, DType::bf16);
  const Tensor sum = Tensor::empty(allocator, shape, DType::bf16);
  const Tensor y = Tensor::empty(allocator, shape, DType::bf16);
  const Tensor rstd = Tensor::empty(allocator, {num_tokens}, DType::f32);
  device.backend.rms_norm(random("x", shape, DType::bf16), random("delta", shape, DType::bf16), w, eps, sum, y, rstd);
  const Tensor dx = Tensor::empty(allocator, shape, DType::bf16);
  const Tensor dw = random("dw", {64}, DType::f32);
  device.backend.rms_norm_backward(sum, w, rstd, random("dy", shape, DType::bf16), dx, Accumulate::no, dw);
  return {{"sum", sum}, {"y", y}, {"rstd", rstd}, {"dx", dx}, {"dw", dw}};
}

TEST_CASE("rms_norm gives the same bits on every run") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 1100); });
}

TEST_CASE("rms_norm gives the same bits on every run, 16,384 tokens", "[slow]") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 16384); });
}

TEST_CASE("rms_norm refuses wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  const auto make = [&](const Shape& shape, DType dtype = DType::f32) {
    return Tensor::empty(device.allocator, shape, dtype);
  };
  const Tensor x = make({3, 4}), w = make({4}), rstd = make({3}), none;
  const auto forward = [&](In delta, In weight, Out sum, Out y, Out r) {
    return requirement_of([&] { device.backend.rms_norm(x, delta, weight, eps, sum, y, r); });
  };
  expect_contains(forward(none, make({5}), none, make({3, 4}), rstd), "[rms_norm] required w");
  expect_contains(forward(none, w, none, make({4, 4}), rstd), "[rms_norm] required y");
  expect_contains(forward(none, w, none, make({3, 4}, DType::bf16), rstd), "[rms_norm] required y");
  expect_contains(forward(none, w, none, make({3, 4}), make({4})), "[rms_norm] required rstd");
  expect_contains(forward(make({3, 5}), w, make({3, 4}), make({3, 4}), rstd), "[rms_norm] required delta");
  expect_contains(forward(make({3, 4}), w, none, make({3, 4}), rstd), "[rms_norm] required sum");
  const auto backward = [&](In r, In dy, Out dx, InOut dw) {
    return requirement_of([&] { device.backend.rms_norm_backward(x, w, r, dy, dx, Accumulate::no, dw); });
  };
  expect_contains(backward(make({2}), x, make({3, 4}), w), "[rms_norm_backward] required rstd");
  expect_contains(backward(rstd, make({3, 3}), make({3, 4}), w), "[rms_norm_backward] required dy");
  expect_contains(backward(rstd, x, make({3, 4}, DType::bf16), w), "[rms_norm_backward] required dx");
  expect_contains(backward(rstd, x, make({3, 4}), make({4}, DType::bf16)), "[rms_norm_backward] required dw");
}

}  // namespace
}  // namespace artel
