#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/reference/uoe.h"
#include "support/tensors.h"
#include "support/test_device.h"

namespace artel {
namespace {

using reference::Ids;
using reference::Vector;

/// Values of gate_up that a case wants to be special.
enum class Content { random, equal_experts, silent_experts, equal_neurons };

struct Case {
  std::int64_t num_tokens, num_experts, neurons, top_k;
  Content content = Content::random;
};
const std::vector<Case> cases{
    {0, 4, 3, 2},
    {1, 1, 5, 1},
    {1, 4, 1, 2},
    {5, 8, 9, 2},
    {3, 6, 14, 6},
    {7, 64, 14, 8},
    {2, 5, 33, 3},
    {9, 4, 16, 1},
    {3, 130, 2, 4},
    {80, 8, 7, 2},
    {2, 12, 8, 3},
    {3, 20, 16, 4},
    {2, 6, 32, 2},
    {2, 300, 14, 8},
    {2, 40, 150, 3},
    {2, 3, 600, 2},
    {4, 8, 5, 3, Content::equal_experts},
    {4, 6, 10, 2, Content::silent_experts},
    {3, 5, 19, 2, Content::equal_neurons},
};

Vector gate_up_for(const Case& c, DType act) {
  const std::size_t row = 2 * usize(c.neurons), num_experts = usize(c.num_experts);
  Vector values = random_values("gate_up", usize(c.num_tokens) * num_experts * row, 1.0, act);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t expert = i / row % num_experts;
    if (c.content == Content::equal_experts && expert > 0) values[i] = values[i - row];
    if (c.content == Content::silent_experts && expert % 2 == 1) values[i] = 0.0;
    if (c.content == Content::equal_neurons && i % usize(c.neurons) > 0) {
      // Equal magnitudes for every signal: of P always, of SiLU(G) only with equal signs.
      values[i] = i / usize(c.neurons) % 2 == 1 ? -values[i - 1] : values[i - 1];
    }
  }
  return values;
}

std::string describe(const Case& c, DType act, const BidOptions& options) {
  return std::to_string(c.num_tokens) + " tokens, " + std::to_string(c.num_experts) + " experts of " +
         std::to_string(c.neurons) + " neurons, " + dtype_name(act) + " top " + std::to_string(c.top_k) + ", content " +
         std::to_string(static_cast<int>(c.content)) + ", signal " + std::to_string(static_cast<int>(options.signal)) +
         ", norm " + std::to_string(static_cast<int>(options.norm)) + ", u " +
         std::to_string(options.routed_includes_routing_neurons) + ", v " +
         std::to_string(options.virtual_shared_expert) + ", norm_topk_prob " +
         std::to_string(options.top_k.norm_topk_prob) + ", score_scale " + std::to_string(options.score_scale);
}

/// Which gradients arrive besides that of `hidden`.
struct Flow {
  bool weights, balance;
  float z_scale;
  std::int64_t tokens_per_set;
};

/// The tensors of one run of uoe_bids.
struct Forward {
  Forward(TestDevice& device, GuardedTensors& tensors, const Case& c, DType act, const Vector& values,
          const BidOptions& options)
      : gate_up(tensors.input("gate_up", {c.num_tokens, c.num_experts, 2, c.neurons}, act, values)),
        bids(tensors.output("bids", {c.num_tokens, c.num_experts}, DType::f32)),
        probs(tensors.output("probs", {c.num_tokens, c.num_experts}, DType::f32)),
        lse(tensors.output("lse", {c.num_tokens}, DType::f32)),
        ids(tensors.output("ids", {c.num_tokens, c.top_k}, DType::i32)),
        weights(tensors.output("weights", {c.num_tokens, c.top_k}, DType::f32)),
        hidden(tensors.output("hidden", {c.num_tokens, c.num_experts * c.neurons}, act)) {
    device.backend.uoe_bids(gate_up, options, bids, probs, lse, ids, weights, hidden);
  }
  Tensor gate_up, bids, probs, lse, ids, weights, hidden;
};

/// The choice must be the exact top K of the stored bids: recompute and backward read the same bits.
Ids chosen_by_stored_bids(const Forward& forward, const Case& c, const BidOptions& options) {
  Vector scores = values_of(forward.bids);
  for (double& score : scores) score = static_cast<double>(static_cast<float>(score) * options.score_scale);
  return reference::top_k(scores, usize(c.num_experts), usize(c.top_k));
}

void check(TestDevice& device, const Case& c, DType act, BidOptions options, const Flow& flow) {
  options.top_k.top_k = c.top_k;
  INFO(describe(c, act, options));
  GuardedTensors tensors(device);
  const std::size_t num_experts = usize(c.num_experts), neurons = usize(c.neurons);
  const Vector values = gate_up_for(c, act);
  const Forward forward(device, tensors, c, act, values, options);
  const Ids ids = chosen_by_stored_bids(forward, c, options);
  REQUIRE(ids_of(forward.ids) == ids);
  const auto expected = reference::uoe(values, num_experts, neurons, ids, options);
  // The rounding of a bid, a sum over the neurons, becomes a factor of its probability.
  const double scale = std::max({1.0, largest(expected.routing.lse), largest(expected.bids)});
  const std::size_t length = neurons + num_experts;
  expect_close("bids", forward.bids, expected.bids, neurons);
  expect_close("probs", forward.probs, expected.routing.probs, length, scale * largest(expected.routing.probs));
  expect_close("lse", forward.lse, expected.routing.lse, length, scale);
  expect_close("weights", forward.weights, expected.routing.weights, length, scale * largest(expected.routing.weights));
  expect_close("hidden", forward.hidden, expected.hidden, length, scale * largest(expected.hidden));

  const std::int64_t num_sets = (c.num_tokens + flow.tokens_per_set - 1) / flow.tokens_per_set;
  const Vector dhidden_values = random_values("dhidden", expected.hidden.size(), 1.0, act);
  const Vector dweight_values = flow.weights ? random_values("dweights", ids.size()) : Vector();
  const Vector balance_values = flow.balance ? random_values("balance", usize(num_sets) * num_experts) : Vector();
  AuxiliaryGradient auxiliary;
  if (flow.balance) {
    auxiliary.balance = tensors.input("balance", {num_sets, c.num_experts}, DType::f32, balance_values);
  }
  auxiliary.tokens_per_set = flow.tokens_per_set;
  auxiliary.z_scale = flow.z_scale;
  const Tensor dweights =
      flow.weights ? tensors.input("dweights", {c.num_tokens, c.top_k}, DType::f32, dweight_values) : Tensor();
  const Tensor dhidden = tensors.input("dhidden", {c.num_tokens, c.num_experts * c.neurons}, act, dhidden_values);
  const Tensor dgate_up = tensors.output("dgate_up", forward.gate_up.shape(), act);
  device.backend.uoe_bids_backward(forward.gate_up, forward.bids, forward.probs, forward.lse, forward.ids,
                                   forward.weights, dweights, dhidden, options, auxiliary, dgate_up);
  const reference::Auxiliary expected_auxiliary{balance_values, usize(flow.tokens_per_set),
                                                static_cast<double>(flow.z_scale)};
  const Vector gradient = reference::uoe_backward(values, num_experts, neurons, ids, dweight_values, dhidden_values,
                                                  options, expected_auxiliary);
  // Gradients of a token's weights cancel against their mean before they reach the bids.
  expect_close("dgate_up", dgate_up, gradient, length, scale * std::max(largest(gradient), largest(dweight_values)));
  tensors.expect_intact();
}

void for_each_combination(const std::function<void(const BidOptions&)>& body) {
  for (const RoutingSignal signal : {RoutingSignal::gate, RoutingSignal::gate_preactivation, RoutingSignal::glu}) {
    for (const RoutingNorm norm : {RoutingNorm::l2, RoutingNorm::l1, RoutingNorm::linf}) {
      for (const int uv : {1, 2, 3}) {
        for (const bool norm_topk_prob : {false, true}) {
          for (const bool scaled : {false, true}) {
            BidOptions options;
            options.top_k = {1, norm_topk_prob, scaled ? 2.5F : 1.0F};
            options.signal = signal;
            options.norm = norm;
            options.routed_includes_routing_neurons = (uv & 1) != 0;
            options.virtual_shared_expert = (uv & 2) != 0;
            options.score_scale = scaled ? 0.7F : 1.0F;
            body(options);
          }
        }
      }
    }
  }
}

TEST_CASE("uoe_bids and its gradient agree with the reference for every combination of keys") {
  for_each_device([](TestDevice& device) {
    for (const DType act : act_types) {
      for_each_combination([&](const BidOptions& options) {
        check(device, {5, 6, 9, 3}, act, options, {true, true, 0.2F, 2});
        check(device, {2, 3, 16, 2}, act, options, {true, false, 0.0F, 1});
      });
    }
  });
}

TEST_CASE("uoe_bids and its gradient agree with the reference for every shape") {
  for_each_device([](TestDevice& device) {
    for (const Case& c : cases) {
      for (const DType act : act_types) {
        for (const bool norm_topk_prob : {false, true}) {
          BidOptions options;
          options.top_k.norm_topk_prob = norm_topk_prob;
          check(device, c, act, options, {true, true, 0.1F, 3});
          check(device, c, act, options, {false, false, 0.0F, 1});
          check(device, c, act, options, {false, true, 0.0F, 128});
        }
      }
    }
  });
}

TEST_CASE("uoe_bids breaks ties among equal neurons and experts towards the lower index, for every norm and signal") {
  for_each_device([](TestDevice& device) {
    for (const DType act : act_types) {
      for_each_combination([&](const BidOptions& options) {
        check(device, {3, 8, 5, 3, Content::equal_experts}, act, options, {true, true, 0.0F, 1});
        check(device, {3, 5, 19, 2, Content::equal_neurons}, act, options, {true, false, 0.0F, 1});
      });
    }
  });
}

TEST_CASE("an expert whose routing neurons are silent bids zero and gets no gradient through its bid") {
  TestDevice device;
  const Case c{2, 4, 6, 2, Content::silent_experts};
  for_each_combination([&](BidOptions options) {
    options.top_k.top_k = c.top_k;
    INFO(describe(c, DType::f32, options));
    GuardedTensors tensors(device);
    const Forward forward(device, tensors, c, DType::f32, gate_up_for(c, DType::f32), options);
    const Vector bids = values_of(forward.bids);
    const Tensor dhidden = tensors.input("dhidden", {2, 24}, DType::f32, random_values("dhidden", 48));
    const Tensor dgate_up = tensors.output("dgate_up", {2, 4, 2, 6}, DType::f32);
    device.backend.uoe_bids_backward(forward.gate_up, forward.bids, forward.probs, forward.lse, forward.ids,
                                     forward.weights, {}, dhidden, options, {}, dgate_up);
    const Vector gradient = values_of(dgate_up);
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      if (i / 12 % 2 == 0) continue;
      CHECK(bids[i / 12] == 0.0);
      CHECK(gradient[i] == 0.0);  // SiLU(0) = 0 and P = 0: nothing passes but through the bid
    }
  });
}

TEST_CASE("a token whose values are no numbers chooses the first experts and leaves other tokens alone") {
  const Case c{3, 70, 3, 4};
  const std::size_t row = 70 * 2 * 3;
  for_each_device([&](TestDevice& device) {
    for_each_combination([&](BidOptions options) {
      options.top_k.top_k = c.top_k;
      INFO(describe(c, DType::f32, options));
      GuardedTensors tensors(device);
      Vector values = gate_up_for(c, DType::f32);
      std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(row), row, std::nan(""));
      const Forward forward(device, tensors, c, DType::f32, values, options);
      const Ids ids = ids_of(forward.ids);
      CHECK(Ids(ids.begin() + 4, ids.begin() + 8) == Ids{0, 1, 2, 3});
      const Tensor dhidden = tensors.input("dhidden", {3, 210}, DType::f32, random_values("dhidden", 630));
      const Tensor dgate_up = tensors.output("dgate_up", forward.gate_up.shape(), DType::f32);
      device.backend.uoe_bids_backward(forward.gate_up, forward.bids, forward.probs, forward.lse, forward.ids,
                                       forward.weights, {}, dhidden, options, {}, dgate_up);
      const Vector gradient = values_of(dgate_up), hidden = values_of(forward.hidden);
      const auto is_finite = [](double x) { return std::isfinite(x); };
      for (const std::size_t token : {0, 2}) {
        const auto of_token = [token](const Vector& x, std::size_t size) {
          const auto begin = x.begin() + static_cast<std::ptrdiff_t>(token * size);
          return Vector(begin, begin + static_cast<std::ptrdiff_t>(size));
        };
        const Vector of_hidden = of_token(hidden, row / 2), of_gradient = of_token(gradient, row);
        CHECK(std::all_of(of_hidden.begin(), of_hidden.end(), is_finite));
        CHECK(std::all_of(of_gradient.begin(), of_gradient.end(), is_finite));
      }
      tensors.expect_intact();
    });
  });
}

NamedTensors run_all(TestDevice& device, std::int64_t num_tokens) {
  Allocator& allocator = device.allocator;
  GuardedTensors tensors(allocator);
  const Case c{num_tokens, 16, 5, 4};
  BidOptions options;
  options.top_k.top_k = c.top_k;
  const Forward forward(device, tensors, c, DType::bf16, gate_up_for(c, DType::bf16), options);
  const auto random = [&](const char* name, const Shape& shape, DType dtype) {
    return tensor_of(allocator, shape, dtype, random_values(name, usize(shape.numel())));
  };
  const AuxiliaryGradient auxiliary{random("balance", {(num_tokens + 127) / 128, 16}, DType::f32), 128, 0.1F};
  const Tensor dgate_up = Tensor::empty(allocator, forward.gate_up.shape(), DType::bf16);
  device.backend.uoe_bids_backward(forward.gate_up, forward.bids, forward.probs, forward.lse, forward.ids,
                                   forward.weights, random("dweights", {num_tokens, 4}, DType::f32),
                                   random("dhidden", {num_tokens, 80}, DType::bf16), options, auxiliary, dgate_up);
  return {{"bids", forward.bids},     {"probs", forward.probs},     {"lse", forward.lse},  {"ids", forward.ids},
          {"hidden", forward.hidden}, {"weights", forward.weights}, {"dgate_up", dgate_up}};
}

TEST_CASE("uoe_bids gives the same bits on every run") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 1100); });
}

TEST_CASE("uoe_bids gives the same bits on every run, 16,384 tokens", "[slow]") {
  expect_same_bits_on_every_run([](TestDevice& device) { return run_all(device, 16384); });
}

TEST_CASE("uoe_bids refuses wrong shapes, types and options, naming kernel and tensor") {
  TestDevice device;
  const auto make = [&](const Shape& shape, DType dtype = DType::f32) {
    return Tensor::empty(device.allocator, shape, dtype);
  };
  BidOptions options;
  options.top_k.top_k = 2;
  const Tensor gate_up = make({3, 4, 2, 5}), per_expert = make({3, 4}), lse = make({3}), hidden = make({3, 20});
  const Tensor ids = make({3, 2}, DType::i32), weights = make({3, 2});
  const auto forward = [&](In g, Out bids, Out probs, Out l, Out i, Out w, Out h) {
    return requirement_of([&] { device.backend.uoe_bids(g, options, bids, probs, l, i, w, h); });
  };
  const Tensor probs = make({3, 4});
  expect_contains(forward(make({3, 4, 3, 5}), per_expert, probs, lse, ids, weights, hidden),
                  "[uoe_bids] required gate_up");
  expect_contains(forward(make({3, 4, 2, 5}, DType::i32), per_expert, probs, lse, ids, weights, hidden),
                  "[uoe_bids] required gate_up");
  expect_contains(forward(gate_up, make({3, 5}), probs, lse, ids, weights, hidden), "[uoe_bids] required bids");
  expect_contains(forward(gate_up, per_expert, make({2, 4}), lse, ids, weights, hidden), "[uoe_bids] required probs");
  expect_contains(forward(gate_up, per_expert, probs, make({4}), ids, weights, hidden), "[uoe_bids] required lse");
  expect_contains(forward(gate_up, per_expert, probs, lse, make({3, 3}, DType::i32), weights, hidden),
                  "[uoe_bids] required ids");
  expect_contains(forward(gate_up, per_expert, probs, lse, ids, make({3, 2}, DType::bf16), hidden),
                  "[uoe_bids] required weights");
  expect_contains(forward(gate_up, per_expert, probs, lse, ids, weights, make({3, 20}, DType::bf16)),
                  "[uoe_bids] required hidden");
  const auto backward = [&](In dweights, In dhidden, const AuxiliaryGradient& auxiliary, Out dgate_up) {
    return requirement_of([&] {
      device.backend.uoe_bids_backward(gate_up, per_expert, probs, lse, ids, weights, dweights, dhidden, options,
                                       auxiliary, dgate_up);
    });
  };
  const Tensor out = make({3, 4, 2, 5});
  expect_contains(backward(make({3, 3}), hidden, {}, out), "[uoe_bids_backward] required dweights");
  expect_contains(backward(weights, make({3, 19}), {}, out), "[uoe_bids_backward] required dhidden");
  expect_contains(backward(weights, hidden, {make({2, 4}), 1, 0.0F}, out), "[uoe_bids_backward] required");
  expect_contains(backward(weights, hidden, {}, make({3, 4, 2, 4})), "[uoe_bids_backward] required dgate_up");
}

}  // namespace
}  // namespace artel
