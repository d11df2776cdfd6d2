#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/routing.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

using reference::Ids;
using reference::Vector;

struct Case {
  std::int64_t num_tokens, num_experts;
  double stddev;                        ///< of the scores behind the probabilities
  std::vector<std::int32_t> num_slots;  ///< of the tokens, in turn
  bool best;                            ///< the most probable experts are chosen; else any
};
const std::vector<Case> cases{
    {0, 4, 1.0, {2}, true},       {1, 1, 1.0, {1}, true},           {3, 5, 1.0, {5}, true},
    {7, 8, 1.0, {2}, true},       {33, 64, 2.0, {8}, true},         {5, 100, 1.0, {3}, false},
    {4, 17, 0.0, {4}, true},      {6, 32, 40.0, {1, 4, 31}, false}, {9, 300, 1.0, {12, 1}, true},
    {70, 6, 0.3, {0, 2}, true},   {5000, 16, 1.0, {2}, true},       {11, 19, 300.0, {3}, true},
    {513, 63, 1.5, {0, 7}, false}};

struct Input {
  Vector probs;
  Ids ids;
  Ids offsets{0};
};

Input input_for(const Case& c) {
  const std::size_t num_experts = usize(c.num_experts);
  const Vector scores = random_values("scores", usize(c.num_tokens) * num_experts, c.stddev);
  const Vector lottery = random_values("lottery", scores.size());
  const Ids all = reference::top_k(c.best ? scores : lottery, num_experts, num_experts);
  Input input;
  input.probs = rounded(reference::route(scores, num_experts, all, {.top_k = c.num_experts}).probs, DType::f32);
  for (std::size_t t = 0; t < usize(c.num_tokens); ++t) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(t * num_experts);
    input.ids.insert(input.ids.end(), first, first + c.num_slots[t % c.num_slots.size()]);
    input.offsets.push_back(static_cast<std::int32_t>(input.ids.size()));
  }
  return input;
}

Tensor run(TestDevice& device, GuardedTensors& tensors, const Case& c, const Input& input) {
  const Tensor probs = tensors.input("probs", {c.num_tokens, c.num_experts}, DType::f32, input.probs);
  const Tensor ids = tensors.input("ids", input.ids);
  const Tensor offsets = tensors.input("token_offsets", input.offsets);
  const Tensor sums = tensors.output("sums", {2}, DType::f64);
  device.backend.routing_statistics(probs, ids, offsets, sums);
  return sums;
}

TEST_CASE("routing_statistics agrees with the reference for any choices") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      INFO(c.num_tokens << " tokens, " << c.num_experts << " experts, stddev " << c.stddev);
      GuardedTensors tensors(device);
      const Input input = input_for(c);
      const std::vector<double> sums = values_of(run(device, tensors, c, input));
      const auto expected = reference::routing_statistics(input.probs, usize(c.num_experts), input.ids, input.offsets);
      // Rows are summed in f32, their sums in f64: every row may miss its share, in the same direction at worst.
      const double entropy = std::log(static_cast<double>(c.num_experts));
      const Tolerance of_row = tolerance_for(DType::f32, usize(c.num_experts), std::max(entropy, 1.0));
      const auto rows = static_cast<double>(c.num_tokens);
      expect_close("entropy", {sums[0]}, {expected.entropy},
                   {rows * (of_row.absolute + of_row.relative * entropy), 0.0});
      expect_close("margin", {sums[1]}, {expected.margin}, {rows * std::pow(2.0, -24), 0.0});
      tensors.expect_intact();
    }
  });
}

TEST_CASE("a certain choice has no entropy and an even one all of it") {
  TestDevice device;
  GuardedTensors tensors(device);
  const Case c{2, 4, 0.0, {1}, true};
  const std::vector<double> sums =
      values_of(run(device, tensors, c, {{1.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.25, 0.25}, {0, 0}, {0, 1, 2}}));
  CHECK(sums[0] == Approx(std::log(4.0)).epsilon(1e-6));
  CHECK(sums[1] == 1.0);
}

TEST_CASE("routing_statistics has the same bits on every run") {
  expect_same_bits_on_every_run([](TestDevice& device) {
    GuardedTensors tensors(device);
    const Case c{5000, 16, 1.0, {2}, true};
    return NamedTensors{{"sums", run(device, tensors, c, input_for(c))}};
  });
}

TEST_CASE("routing_statistics names the argument whose shape is wrong") {
  TestDevice device;
  const Context context = device.context();
  const Tensor probs = context.empty({3, 4}, DType::f32);
  const Tensor ids = context.empty({6}, DType::i32);
  const auto run_with = [&](const Tensor& offsets, const Tensor& sums) {
    return error_text([&] { device.backend.routing_statistics(probs, ids, offsets, sums); });
  };
  expect_contains(run_with(context.empty({3}, DType::i32), context.empty({2}, DType::f64)),
                  "[routing_statistics] required token_offsets");
  expect_contains(run_with(context.empty({4}, DType::i32), context.empty({2}, DType::f32)),
                  "[routing_statistics] required sums");
}

}  // namespace
}  // namespace artel
