#include "ops/tape.h"

#include <cmath>

#include "ops/moe_ops.h"
#include "ops/ops.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/tensors.h"
#include "support/test_device.h"

using namespace artel;

namespace {

Variable leaf(TestDevice& device, const std::string& name, const Shape& shape, DType dtype = DType::f32) {
  return make_leaf(tensor_of(device.allocator, shape, dtype, random_values(name, usize(shape.numel()))));
}

void seed(TestDevice& device, const Variable& root, const std::vector<double>& cotangent) {
  root.slot->gradient = tensor_of(device.allocator, root.slot->shape, DType::f32, cotangent);
}

}  // namespace

TEST_CASE("A variable that is used twice collects both gradients, and those of its users stay as they were") {
  TestDevice device;
  Context context = device.context();
  const Variable a = leaf(device, "a", {3, 4});
  const Variable b = leaf(device, "b", {3, 4});
  const Variable sum = add(context, a, b);
  const Variable twice = add(context, sum, a);
  const std::vector<double> cotangent = random_values("cotangent", 12);
  seed(device, twice, cotangent);
  backward(context, {twice});
  std::vector<double> doubled;
  for (const double x : cotangent) doubled.push_back(2.0 * x);
  expect_equal("da", a.slot->gradient, doubled);
  expect_equal("db", b.slot->gradient, cotangent);
}

TEST_CASE("Parameters add to their arena and are announced once, after their last use") {
  TestDevice device;
  Context context = device.context();
  Variable weight = leaf(device, "weight", {4, 4});
  weight.slot->is_parameter = true;
  weight.slot->gradient = tensor_of(device.allocator, {4, 4}, DType::f32, std::vector<double>(16, 1.0));
  int announced = 0;
  std::vector<double> at_announcement;
  weight.slot->on_complete = [&] {
    ++announced;
    at_announcement = values_of(weight.slot->gradient);
  };
  const Variable x = leaf(device, "x", {2, 4});
  const Variable y = linear(context, linear(context, x, weight), weight);
  seed(device, y, random_values("cotangent", 8));
  backward(context, {y});
  CHECK(announced == 1);
  CHECK(at_announcement == values_of(weight.slot->gradient));
  CHECK(at_announcement != std::vector<double>(16, 1.0));
}

TEST_CASE("What the gradient of an untouched parameter held before does not matter, whatever operation comes first") {
  TestDevice device;
  Context context = device.context();
  const AttentionShape shape{1, 3, 2, 1, 8};  // 3 tokens, 4 heads
  const Tensor ids = tensor_of(device.allocator, {3}, DType::i32, {4.0, 0.0, 4.0});
  const Tensor cos_sin = rope_table(context, 3, 8, 10000.0);
  const auto gradients = [&](bool untouched) {
    std::vector<Variable> parameters;
    const auto parameter = [&](const std::string& name, const Shape& of) {
      Variable made = leaf(device, name, of);
      made.slot->is_parameter = true;
      made.slot->untouched = untouched;
      made.slot->gradient = tensor_of(device.allocator, of, DType::f32,
                                      std::vector<double>(usize(of.numel()), untouched ? std::nan("") : 0.0));
      parameters.push_back(made);
      return made;
    };
    const Variable x = embedding(context, parameter("table", {5, 32}), ids);
    const Variable norm = parameter("norm", {32});
    const NormResult first = add_rms_norm(context, x, Variable(), norm, 1e-5F);
    const NormResult second = add_rms_norm(context, x, first.normalised, norm, 1e-5F);
    const Variable weight = parameter("weight", {32, 32});
    const Variable y = linear(context, linear(context, second.normalised, weight), weight);
    const Variable turned =
        rope(context, reshape(y, {3, 4, 8}), cos_sin, shape, parameter("q_norm", {8}), parameter("k_norm", {8}), 1e-5F);
    // One whose product gets no gradient back, and one that takes no part.
    const Variable unread = linear(context, x, parameter("unread", {2, 32}));
    Variable joined(turned.data);
    record("joined", {turned, unread}, {&joined},
           [slot = turned.slot](Context& ctx, const OutputGradients& dy) { contribute(ctx, *slot, dy[0]); });
    parameter("alone", {2, 2});
    seed(device, joined, random_values("cotangent", 96));
    backward(context, {joined});
    complete_gradient(context, *parameters.back().slot);
    contribute(context, *parameter("given", {3, 32}).slot, x.data);
    std::vector<std::vector<double>> found;
    for (const Variable& made : parameters) found.push_back(values_of(made.slot->gradient));
    return found;
  };
  const auto required = gradients(false);
  CHECK(gradients(true) == required);
  CHECK(required.front() != std::vector<double>(160, 0.0));
  CHECK(required[5] == std::vector<double>(64, 0.0));
  CHECK(required[6] == std::vector<double>(4, 0.0));
}

TEST_CASE("Nothing is recorded without a leaf or while the tape is off") {
  TestDevice device;
  Context context = device.context();
  const Variable a(leaf(device, "a", {2, 2}).data);
  CHECK_FALSE(add(context, a, a).needs_gradient());
  context.record_tape = false;
  const Variable b = leaf(device, "b", {2, 2});
  CHECK_FALSE(add(context, b, b).needs_gradient());
}

TEST_CASE("A root needs a gradient unless it is a single number") {
  TestDevice device;
  Context context = device.context();
  const Variable a = leaf(device, "a", {2, 2});
  const Variable y = add(context, a, a);
  expect_contains(error_text([&] { backward(context, {y}); }), "[backward]");
  expect_contains(error_text([&] { backward(context, {Variable(a.data)}); }), "[backward]");
}

TEST_CASE("The activations of a backward pass are returned to the cache") {
  TestDevice device;
  Context context = device.context();
  const Variable x = leaf(device, "x", {64, 64});
  std::int64_t after_first = 0;
  for (int pass = 0; pass < 3; ++pass) {
    {
      Variable y = x;
      for (int i = 0; i < 10; ++i) y = add(context, y, x);
      seed(device, y, std::vector<double>(64 * 64, 1.0));
      backward(context, {y});
      x.slot->gradient = Tensor{};
    }
    if (pass == 0) after_first = device.allocator.stats().active_bytes;
    CHECK(device.allocator.stats().active_bytes == after_first);
  }
}

TEST_CASE("The loss by chunks equals the loss at once, gradients of logits in the type of the weights included") {
  const DType act = GENERATE(DType::f32, DType::bf16);
  INFO(dtype_name(act));
  TestDevice device;
  Context context = device.context();
  // 70,000 ids make chunks of 64 tokens: 150 tokens are three of them, the last one ragged.
  const std::int64_t vocab_size = 70'000;
  const std::int64_t num_tokens = 150;
  const Variable x = leaf(device, "x", {num_tokens, 8}, act);
  Variable weight = leaf(device, "weight", {vocab_size, 8}, act);
  weight.slot->is_parameter = true;
  weight.slot->gradient =
      tensor_of(device.allocator, {vocab_size, 8}, DType::f32, std::vector<double>(usize(vocab_size * 8), 0.0));
  std::vector<double> ids;
  for (std::int64_t t = 0; t < num_tokens; ++t) ids.push_back(static_cast<double>(t * 467 % vocab_size));
  const Tensor targets = tensor_of(device.allocator, {num_tokens}, DType::i32, ids);
  const Variable loss = linear_cross_entropy(context, x, weight, targets, 0.5F);
  backward(context, {loss});

  const Tensor logits = context.empty({num_tokens, vocab_size}, DType::f32);
  const Tensor losses = context.empty({num_tokens}, DType::f32);
  const Tensor dlogits = context.empty(logits.shape(), act);
  const Tensor dx = context.empty({num_tokens, 8}, act);
  const Tensor dweight = context.empty({vocab_size, 8}, DType::f32);
  context.backend.linear(x.data, weight.data, logits, Accumulate::no);
  context.backend.cross_entropy(logits, targets, 0.5F, true, losses);
  context.backend.copy(logits, dlogits);
  context.backend.linear_backward_data(dlogits, weight.data, dx, Accumulate::no);
  context.backend.linear_backward_weight(x.data, dlogits, dweight, Accumulate::no);
  double sum = 0.0;
  for (const double value : values_of(losses)) sum += value;
  CHECK(values_of(loss.data)[0] == Approx(sum).epsilon(1e-6));
  expect_close("dx", x.slot->gradient, values_of(dx), usize(vocab_size));
  expect_close("dweight", weight.slot->gradient, values_of(dweight), usize(num_tokens));
}
