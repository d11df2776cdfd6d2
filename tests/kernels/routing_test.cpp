#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/norm.h"
#include "support/reference/routing.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

using reference::Ids;
using reference::Vector;

struct Case {
  std::int64_t num_tokens, num_experts, top_k;
  double stddev = 1.0;
  bool ties = false;  ///< scores from a few values only
};
const std::vector<Case> cases{{0, 4, 2},
                              {1, 1, 1},
                              {1, 2, 1},
                              {3, 5, 5},
                              {7, 8, 2},
                              {33, 64, 8},
                              {5, 100, 3},
                              {4, 17, 4},
                              {2, 16, 16},
                              {6, 8, 3, 1.0, true},
                              {5, 40, 9, 1.0, true},
                              {4, 32, 4, 40.0},
                              {3, 300, 12},
                              {2, 200, 200},
                              {3, 200, 9, 1.0, true},
                              {2, 1100, 7},
                              {70, 6, 2, 0.0}};

Vector scores_for(const Case& c) {
  Vector scores = random_values("scores", usize(c.num_tokens * c.num_experts), c.stddev);
  for (double& score : scores) {
    if (c.ties) score = std::round(score);
  }
  return scores;
}

std::string describe(const Case& c, const TopKOptions& options) {
  return std::to_string(c.num_tokens) + " tokens, " + std::to_string(c.num_experts) + " experts, top " +
         std::to_string(c.top_k) + ", stddev " + std::to_string(c.stddev) + ", ties " + std::to_string(c.ties) +
         ", norm_topk_prob " + std::to_string(options.norm_topk_prob);
}

std::vector<TopKOptions> options_for(const Case& c) {
  return {{c.top_k, true, 1.0F}, {c.top_k, false, 1.0F}, {c.top_k, true, 2.5F}, {c.top_k, false, 2.5F}};
}

/// The rounding of a score, or of the normaliser, becomes a factor of its probability.
double factor(const Vector& scores, const reference::Routing& routing) {
  return std::max({1.0, largest(scores), largest(routing.lse)});
}

void check_forward(TestDevice& device, const Case& c, const TopKOptions& options, bool with_bias) {
  GuardedTensors tensors(device);
  const std::size_t num_experts = usize(c.num_experts);
  const Vector values = scores_for(c);
  const Vector bias_values = with_bias ? random_values("bias", num_experts) : Vector(num_experts, 0.0);
  Vector selection(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    selection[i] =
        static_cast<double>(static_cast<float>(values[i]) + static_cast<float>(bias_values[i % num_experts]));
  }
  const Tensor scores = tensors.input("scores", {c.num_tokens, c.num_experts}, DType::f32, values);
  const Tensor bias = with_bias ? tensors.input("selection_bias", {c.num_experts}, DType::f32, bias_values) : Tensor();
  const Tensor probs = tensors.output("probs", {c.num_tokens, c.num_experts}, DType::f32);
  const Tensor lse = tensors.output("lse", {c.num_tokens}, DType::f32);
  const Tensor ids = tensors.output("ids", {c.num_tokens, c.top_k}, DType::i32);
  const Tensor weights = tensors.output("weights", {c.num_tokens, c.top_k}, DType::f32);
  device.backend.route_top_k(scores, bias, options, probs, lse, ids, weights);
  const Ids chosen = reference::top_k(selection, num_experts, usize(c.top_k));
  CHECK(ids_of(ids) == chosen);
  const auto expected = reference::route(values, num_experts, chosen, options);
  const double scale = factor(values, expected);
  expect_close("probs", probs, expected.probs, num_experts, scale * largest(expected.probs));
  expect_close("lse", lse, expected.lse, num_experts, scale);
  expect_close("weights", weights, expected.weights, num_experts, scale * largest(expected.weights));
  tensors.expect_intact();
}

/// Which of the gradients flow.
struct Flow {
  bool weights, balance;
  double z_scale;
  std::int64_t tokens_per_set;
};
const std::vector<Flow> flows{{true, false, 0.0, 1}, {true, true, 0.0, 3},   {true, true, 0.2, 64},
                              {false, true, 0.2, 1}, {false, false, 0.0, 1}, {false, false, 0.3, 2}};

void check_backward(TestDevice& device, const Case& c, const TopKOptions& options, const Flow& flow) {
  GuardedTensors tensors(device);
  const std::size_t num_experts = usize(c.num_experts);
  const Vector values = scores_for(c);
  const Ids chosen = reference::top_k(values, num_experts, usize(c.top_k));
  const auto forward = reference::route(values, num_experts, chosen, options);
  const std::int64_t num_sets = (c.num_tokens + flow.tokens_per_set - 1) / flow.tokens_per_set;
  const Vector dweight_values = flow.weights ? random_values("dweights", chosen.size()) : Vector();
  const Vector balance_values = flow.balance ? random_values("balance", usize(num_sets) * num_experts) : Vector();
  const Shape per_expert{c.num_tokens, c.num_experts}, per_slot{c.num_tokens, c.top_k};
  const Tensor probs = tensors.input("probs", per_expert, DType::f32, forward.probs);
  const Tensor lse = tensors.input("lse", {c.num_tokens}, DType::f32, forward.lse);
  const Tensor ids = tensors.input("ids", per_slot, chosen);
  const Tensor weights = tensors.input("weights", per_slot, DType::f32, forward.weights);
  const Tensor dweights = flow.weights ? tensors.input("dweights", per_slot, DType::f32, dweight_values) : Tensor();
  AuxiliaryGradient auxiliary;
  if (flow.balance) {
    auxiliary.balance = tensors.input("balance", {num_sets, c.num_experts}, DType::f32, balance_values);
  }
  auxiliary.tokens_per_set = flow.tokens_per_set;
  auxiliary.z_scale = static_cast<float>(flow.z_scale);
  const Tensor dscores = tensors.output("dscores", per_expert, DType::f32);
  device.backend.route_top_k_backward(probs, lse, ids, weights, dweights, options, auxiliary, dscores);
  const reference::Auxiliary expected_auxiliary{balance_values, usize(flow.tokens_per_set),
                                                static_cast<double>(auxiliary.z_scale)};
  const Vector expected =
      reference::route_backward(values, num_experts, chosen, dweight_values, options, expected_auxiliary);
  // The terms that cancel: a token's weighted gradients, its balance coefficients, its normaliser.
  const double terms = largest(dweight_values) * largest(forward.weights) + largest(balance_values) +
                       flow.z_scale * largest(forward.lse);
  expect_close("dscores", dscores, expected, num_experts, terms);
  tensors.expect_intact();
}

TEST_CASE("route_top_k agrees with the reference, with and without a selection bias") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      for (const TopKOptions& options : options_for(c)) {
        INFO(describe(c, options));
        check_forward(device, c, options, false);
        check_forward(device, c, options, true);
      }
    }
  });
}

TEST_CASE("gradients of route_top_k agree with the reference for weights, balance and z-loss") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      for (const TopKOptions& options : options_for(c)) {
        for (const Flow& flow : flows) {
          INFO(describe(c, options) << ", dweights " << flow.weights << ", balance " << flow.balance << ", z "
                                    << flow.z_scale << ", tokens_per_set " << flow.tokens_per_set);
          check_backward(device, c, options, flow);
        }
      }
    }
  });
}

TEST_CASE("row_norms and their gradient agree with the reference, a row of zeros included") {
  for_each_device([](TestDevice& device) {
    for (const auto& [num_rows, width] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 3}, {1, 1}, {4, 7}, {9, 64}, {3, 341}, {700, 19}}) {
      for (const DType act : act_types) {
        for (const Accumulate accumulate : {Accumulate::no, Accumulate::yes}) {
          INFO("[" << num_rows << ", " << width << "] " << dtype_name(act));
          GuardedTensors tensors(device);
          const std::size_t row_size = usize(width);
          Vector values = random_values("x", usize(num_rows) * row_size, 1.0, act);
          if (num_rows > 1) std::fill_n(values.begin() + width, width, 0.0);
          const Tensor x = tensors.input("x", {num_rows, width}, act, values);
          const Tensor norms = tensors.output("norms", {num_rows}, DType::f32);
          device.backend.row_norms(x, norms);
          expect_close("norms", norms, reference::row_norms(values, row_size), row_size);

          const Vector dnorm_values = random_values("dnorms", usize(num_rows));
          const Vector start = random_values("dx", values.size(), 1.0, act);
          const bool add = accumulate == Accumulate::yes;
          const Tensor dnorms = tensors.input("dnorms", {num_rows}, DType::f32, dnorm_values);
          const Tensor dx = tensors.result("dx", {num_rows, width}, act, add, start);
          device.backend.row_norms_backward(x, norms, dnorms, dx, accumulate);
          Vector expected = reference::row_norms_backward(values, row_size, dnorm_values);
          for (std::size_t i = 0; i < expected.size() && add; ++i) expected[i] += start[i];
          expect_close("dx", dx, expected, row_size);
          tensors.expect_intact();
        }
      }
    }
  });
}

/// Tokens with 0, 1, 2, 0, … assignments.
Ids ragged_offsets(std::int64_t num_tokens) {
  Ids offsets{0};
  for (std::int64_t t = 0; t < num_tokens; ++t) offsets.push_back(offsets.back() + static_cast<std::int32_t>(t % 3));
  return offsets;
}

struct SetCase {
  std::int64_t num_tokens, num_experts, tokens_per_set;
};
const std::vector<SetCase> set_cases{{0, 3, 4},    {1, 1, 1},       {5, 4, 5},       {6, 7, 4},
                                     {9, 33, 100}, {1200, 16, 128}, {4000, 34, 3700}};

TEST_CASE("expert_counts, load_balance and set_sums agree with the reference for every set of tokens") {
  for_each_device([](TestDevice& device) {
    for (const SetCase& c : set_cases) {
      INFO(c.num_tokens << " tokens, " << c.num_experts << " experts, " << c.tokens_per_set << " tokens a set");
      GuardedTensors tensors(device);
      const std::size_t num_experts = usize(c.num_experts);
      const Ids offsets = ragged_offsets(c.num_tokens);
      Ids chosen;
      for (std::int32_t i = 0; i < offsets.back(); ++i) {
        chosen.push_back(static_cast<std::int32_t>(i * i % c.num_experts));
      }
      const std::int64_t num_sets = (c.num_tokens + c.tokens_per_set - 1) / c.tokens_per_set;
      const Tensor counts = tensors.output("counts", {num_sets, c.num_experts}, DType::i32);
      device.backend.expert_counts(tensors.input("ids", chosen), tensors.input("token_offsets", offsets),
                                   c.tokens_per_set, counts);
      const Ids expected = reference::expert_counts(chosen, offsets, num_experts, usize(c.tokens_per_set));
      CHECK(ids_of(counts) == expected);

      const Tensor balance = tensors.output("balance", {num_sets, c.num_experts}, DType::f32);
      device.backend.load_balance(counts, 0.7F, balance);
      Vector shares;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        double total = 0.0;
        for (std::size_t e = 0; e < num_experts; ++e) total += expected[i / num_experts * num_experts + e];
        shares.push_back(total > 0.0 ? static_cast<double>(0.7F) * expected[i] / total : 0.0);
      }
      expect_close("balance", balance, shares, 1);

      const Vector values = random_values("x", usize(c.num_tokens) * num_experts);
      const Tensor sums = tensors.output("sums", {num_sets, c.num_experts}, DType::f32);
      device.backend.set_sums(tensors.input("x", {c.num_tokens, c.num_experts}, DType::f32, values), c.tokens_per_set,
                              sums);
      expect_close("sums", sums, reference::set_sums(values, num_experts, usize(c.tokens_per_set)),
                   usize(std::min(c.num_tokens, c.tokens_per_set)));
      tensors.expect_intact();
    }
  });
}

TEST_CASE("load_balance of an empty set is zero") {
  TestDevice device;
  const Tensor counts = tensor_of(device.allocator, {2, 3}, DType::i32, {0, 0, 0, 1, 0, 3});
  const Tensor balance = Tensor::empty(device.allocator, {2, 3}, DType::f32);
  device.backend.load_balance(counts, 2.0F, balance);
  expect_equal("balance", balance, {0.0, 0.0, 0.0, 0.5, 0.0, 1.5});
}

NamedTensors run_all(TestDevice& device, std::int64_t num_tokens) {
  Allocator& allocator = device.allocator;
  Backend& backend = device.backend;
  const std::int64_t num_experts = 40, top_k = 4;
  const auto random = [&](const char* name, const Shape& shape) {
    return tensor_of(allocator, shape, DType::f32, random_values(name, usize(shape.numel())));
  };
  const auto empty = [&](const Shape& shape, DType dtype) { return Tensor::empty(allocator, shape, dtype); };
  const TopKOptions options{top_k, true, 1.0F};
  const Tensor probs = empty({num_tokens, num_experts}, DType::f32), lse = empty({num_tokens}, DType::f32);
  const Tensor ids = empty({num_tokens, top_k}, DType::i32), weights = empty({num_tokens, top_k}, DType::f32);
  backend.route_top_k(random("scores", {num_tokens, num_experts}), {}, options, probs, lse, ids, weights);
  const Tensor dscores = empty({num_tokens, num_experts}, DType::f32);
  AuxiliaryGradient auxiliary{random("balance", {(num_tokens + 127) / 128, num_experts}), 128, 0.1F};
  backend.route_top_k_backward(probs, lse, ids, weights, random("dweights", {num_tokens, top_k}), options, auxiliary,
                               dscores);
  Vector offsets;
  for (std::int64_t t = 0; t <= num_tokens; ++t) offsets.push_back(static_cast<double>(t * top_k));
  const Tensor token_offsets = tensor_of(allocator, {num_tokens + 1}, DType::i32, offsets);
  const Tensor counts = empty({1, num_experts}, DType::i32), sums = empty({1, num_experts}, DType::f32);
  backend.expert_counts(ids.view({num_tokens * top_k}), token_offsets, num_tokens, counts);
  backend.set_sums(probs, num_tokens, sums);
  const Tensor norms = empty({num_tokens}, DType::f32), dx = empty({num_tokens, num_experts}, DType::f32);
  backend.row_norms(probs, norms);
  backend.row_norms_backward(probs, norms, lse, dx, Accumulate::no);
  return {{"probs", probs},     {"lse", lse},         {"ids", ids},
          {"weights", weights}, {"dscores", dscores}, {"counts", counts},
          {"set_sums", sums},   {"row_norms", norms}, {"dx", dx}};
}

TEST_CASE("routing kernels give the same bits on every run") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 1100); });
}

TEST_CASE("routing kernels give the same bits on every run, 16,384 tokens", "[slow]") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 16384); });
}

TEST_CASE("routing kernels refuse wrong shapes and types, naming kernel and tensor") {
  TestDevice device;
  Backend& backend = device.backend;
  const auto make = [&](const Shape& shape, DType dtype = DType::f32) {
    const Tensor tensor = Tensor::empty(device.allocator, shape, dtype);
    backend.fill(tensor, 0.0F);
    return tensor;
  };
  const TopKOptions options{2, true, 1.0F};
  const Tensor scores = make({3, 4}), lse = make({3}), ids = make({3, 2}, DType::i32), weights = make({3, 2});
  const auto forward = [&](In s, In bias, Out p, Out l, Out i, Out w, std::int64_t k) {
    return requirement_of([&] { backend.route_top_k(s, bias, {k, true, 1.0F}, p, l, i, w); });
  };
  CHECK(
      contains(forward(make({3, 4}, DType::bf16), {}, scores, lse, ids, weights, 2), "[route_top_k] required scores"));
  expect_contains(forward(scores, make({3}), make({3, 4}), lse, ids, weights, 2),
                  "[route_top_k] required selection_bias");
  expect_contains(forward(scores, {}, make({4, 4}), lse, ids, weights, 2), "[route_top_k] required probs");
  expect_contains(forward(scores, {}, make({3, 4}), make({4}), ids, weights, 2), "[route_top_k] required lse");
  expect_contains(forward(scores, {}, make({3, 4}), lse, make({3, 2}), weights, 2), "[route_top_k] required ids");
  expect_contains(forward(scores, {}, make({3, 4}), lse, ids, make({3, 3}), 2), "[route_top_k] required weights");
  expect_contains(forward(scores, {}, make({3, 4}), lse, make({3, 5}, DType::i32), make({3, 5}), 5),
                  "[route_top_k] required");
  const auto backward = [&](In dweights, const AuxiliaryGradient& auxiliary, Out dscores) {
    return requirement_of(
        [&] { backend.route_top_k_backward(scores, lse, ids, weights, dweights, options, auxiliary, dscores); });
  };
  expect_contains(backward(make({3, 3}), {}, make({3, 4})), "[route_top_k_backward] required dweights");
  expect_contains(backward(weights, {make({2, 4}), 1, 0.0F}, make({3, 4})), "[route_top_k_backward] required");
  expect_contains(backward(weights, {}, make({3, 5})), "[route_top_k_backward] required dscores");
  const Tensor flat = make({6}, DType::i32), offsets = make({4}, DType::i32);
  expect_contains(requirement_of([&] {
                    backend.expert_counts(make({6}), offsets, 3, make({1, 4}, DType::i32));
                  }),
                  "[expert_counts] required ids");
  expect_contains(requirement_of([&] {
                    backend.expert_counts(flat, offsets, 2, make({1, 4}, DType::i32));
                  }),
                  "[expert_counts] required 2 sets for 3 tokens");
  expect_contains(requirement_of([&] {
                    backend.load_balance(make({1, 4}), 1.0F, make({1, 4}));
                  }),
                  "[load_balance] required counts");
  expect_contains(requirement_of([&] {
                    backend.load_balance(make({1, 4}, DType::i32), 1.0F, make({1, 5}));
                  }),
                  "[load_balance] required balance");
  expect_contains(requirement_of([&] {
                    backend.set_sums(scores, 2, make({1, 4}));
                  }),
                  "[set_sums] required 2 sets for 3 tokens");
  expect_contains(requirement_of([&] { backend.row_norms(scores, make({4})); }), "[row_norms] required norms");
  expect_contains(requirement_of([&] {
                    backend.row_norms_backward(scores, lse, lse, make({3, 4}, DType::bf16), Accumulate::no);
                  }),
                  "[row_norms_backward] required dx");
}

}  // namespace
}  // namespace artel
