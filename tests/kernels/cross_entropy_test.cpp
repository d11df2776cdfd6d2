#include <algorithm>
#include <cmath>
#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/loss.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

using reference::Ids;
using reference::Vector;

struct Case {
  std::int64_t num_rows, vocab_size;
  double stddev;  ///< of the logits
};
const std::vector<Case> cases{{0, 7, 1.0},    {1, 1, 1.0},    {1, 2, 1.0},    {3, 5, 1.0},
                              {4, 16, 3.0},   {5, 33, 1.0},   {7, 257, 2.0},  {2, 4099, 1.0},
                              {3, 64, 1.0e4}, {150, 19, 1.0}, {2, 40001, 1.0}};

Ids targets_for(const Case& c) {
  Ids targets;
  for (std::int64_t row = 0; row < c.num_rows; ++row) {
    targets.push_back(static_cast<std::int32_t>((row * 7 + c.vocab_size - 1) % c.vocab_size));
  }
  return targets;
}

void check(TestDevice& device, const Case& c, DType act) {
  GuardedTensors tensors(device);
  const std::size_t vocab_size = usize(c.vocab_size);
  const Vector values = random_values("logits", usize(c.num_rows) * vocab_size, c.stddev, act);
  const Ids target_ids = targets_for(c);
  const Tensor targets = tensors.input("targets", target_ids);
  const Tensor kept = tensors.input("logits", {c.num_rows, c.vocab_size}, act, values);
  const Tensor losses = tensors.output("losses", {c.num_rows}, DType::f32);
  device.backend.cross_entropy(kept, targets, 0.3F, false, losses);
  const Vector expected = reference::cross_entropy(values, target_ids, vocab_size);
  expect_close("losses", losses, expected, vocab_size, largest(expected) + largest(values));

  constexpr float grad_scale = 0.3F;
  const Tensor logits = tensors.updated("logits", {c.num_rows, c.vocab_size}, act, values);
  const Tensor again = tensors.output("losses", {c.num_rows}, DType::f32);
  device.backend.cross_entropy(logits, targets, grad_scale, true, again);
  CHECK(bytes_of(again) == bytes_of(losses));
  const Vector dlosses(usize(c.num_rows), static_cast<double>(grad_scale));
  const Vector dlogits = reference::cross_entropy_backward(values, target_ids, vocab_size, dlosses);
  // A probability inherits the rounding of its logit as a factor.
  expect_close("dlogits", logits, dlogits, vocab_size, largest(dlogits) * std::max(1.0, c.stddev));
  tensors.expect_intact();
}

TEST_CASE("cross_entropy and its gradient agree with the reference") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      for (const DType act : act_types) {
        INFO("[" << c.num_rows << ", " << c.vocab_size << "] " << dtype_name(act) << " stddev " << c.stddev);
        check(device, c, act);
      }
    }
  });
}

TEST_CASE("cross_entropy gives logits of minus infinity no probability and no gradient") {
  constexpr std::int64_t vocab_size = 4001;
  const Ids target_ids{3999, 0, 2000};
  const auto num_rows = static_cast<std::int64_t>(target_ids.size());
  for_each_device([&](TestDevice& device) {
    for (const DType act : act_types) {
      GuardedTensors tensors(device);
      Vector values = random_values("logits", usize(num_rows * vocab_size), 1.0, act);
      for (std::size_t i = 0; i < usize(vocab_size); ++i) {
        if (i < 3000) values[i] = -HUGE_VAL;
        if (i > 0) values[usize(vocab_size) + i] = -HUGE_VAL;
        if (i % 2 == 1) values[2 * usize(vocab_size) + i] = -HUGE_VAL;
      }
      const Tensor targets = tensors.input("targets", target_ids);
      const Tensor logits = tensors.updated("logits", {num_rows, vocab_size}, act, values);
      const Tensor losses = tensors.output("losses", {num_rows}, DType::f32);
      device.backend.cross_entropy(logits, targets, 1.0F, true, losses);
      const Vector expected = reference::cross_entropy(values, target_ids, usize(vocab_size));
      expect_close("losses", losses, expected, usize(vocab_size), 10.0);
      const Vector dlogits = reference::cross_entropy_backward(values, target_ids, usize(vocab_size), {1.0, 1.0, 1.0});
      expect_close("dlogits", logits, dlogits, usize(vocab_size), 1.0);
      const Vector gradient = values_of(logits);
      for (std::size_t i = 0; i < gradient.size(); ++i) {
        if (std::isinf(values[i]) && gradient[i] != 0.0) FAIL_CHECK("gradient " << gradient[i] << " of logit " << i);
      }
      tensors.expect_intact();
    }
  });
}

NamedTensors run_all(TestDevice& device, std::int64_t num_rows) {
  Allocator& allocator = device.allocator;
  const Ids ids = targets_for({num_rows, 70, 1.0});
  const Tensor targets = tensor_of(allocator, {num_rows}, DType::i32, {ids.begin(), ids.end()});
  const Tensor logits =
      tensor_of(allocator, {num_rows, 70}, DType::bf16, random_values("logits", usize(num_rows * 70)));
  const Tensor losses = Tensor::empty(allocator, {num_rows}, DType::f32);
  device.backend.cross_entropy(logits, targets, 0.01F, true, losses);
  return {{"losses", losses}, {"dlogits", logits}};
}

TEST_CASE("cross_entropy gives the same bits on every run") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 1100); });
}

TEST_CASE("cross_entropy gives the same bits on every run, 16,384 tokens", "[slow]") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 16384); });
}

TEST_CASE("cross_entropy refuses wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  const auto make = [&](const Shape& shape, DType dtype = DType::f32) {
    return Tensor::empty(device.allocator, shape, dtype);
  };
  const Tensor targets = make({3}, DType::i32);
  device.backend.fill(targets, 0.0F);
  const auto run = [&](InOut logits, In t, Out losses) {
    return requirement_of([&] { device.backend.cross_entropy(logits, t, 1.0F, false, losses); });
  };
  expect_contains(run(make({3}), targets, make({3})), "[cross_entropy] required logits");
  expect_contains(run(make({3, 4}, DType::i32), targets, make({3})), "[cross_entropy] required logits");
  expect_contains(run(make({3, 4}), make({4}, DType::i32), make({3})), "[cross_entropy] required targets");
  expect_contains(run(make({3, 4}), make({3}), make({3})), "[cross_entropy] required targets");
  expect_contains(run(make({3, 4}), targets, make({2})), "[cross_entropy] required losses");
  expect_contains(run(make({3, 4}), targets, make({3}, DType::bf16)), "[cross_entropy] required losses");
}

}  // namespace
}  // namespace artel
