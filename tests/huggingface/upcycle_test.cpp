#include "huggingface/upcycle.h"

#include <cstring>

#include "core/rng.h"
#include "huggingface/models.h"

using namespace artel;

namespace {

/// A dense model of width 24, exported, to be upcycled.
class Dense {
 public:
  Dense()
      : checkpoint_(make_checkpoint(directory_.file("c"), small_config(dense_keys))),
        path_(exported(directory_, checkpoint_, as_layout(HfLayout::llama))) {}

  ImportResult upcycled(std::vector<std::string> overrides) {
    overrides.emplace_back("model.num_experts=8");
    return imported(directory_, path_, overrides, "in" + std::to_string(num_++));
  }
  const std::string& checkpoint() const { return checkpoint_; }

 private:
  TemporaryDirectory directory_;
  std::string checkpoint_;
  std::string path_;
  int num_ = 0;
};

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

const std::string softmax = "model.routing.type=softmax";
const std::string uoe = "model.routing.type=uoe";
const std::string neurons = "model.routing.uoe.routing_neurons=2";

std::string width(int value) {
  return "model.moe_intermediate_size=" + std::to_string(value);
}
std::string top_k(int value) {
  return "model.num_experts_per_tok=" + std::to_string(value);
}

}  // namespace

TEST_CASE("Where mathematics allows it, an upcycled model has the dense model's logits") {
  Dense dense;
  const std::vector<double> expected = logits_of(dense.checkpoint());
  const std::vector<std::vector<std::string>> targets = {
      {softmax, width(24), top_k(2)},                                             // copies
      {softmax, width(24), top_k(8), "model.norm_topk_prob=false"},               // all copies
      {softmax, width(6), top_k(4)},                                              // one group of four slices
      {softmax, width(3), top_k(8)},                                              // slices, all of them
      {softmax, width(12), top_k(4), "model.routed_scaling_factor=2.5"},          // two groups of two
      {softmax, width(18), top_k(2), "model.shared_expert_intermediate_size=6"},  // copies beside a shared expert
      {softmax, width(6), top_k(6), "model.shared_expert_intermediate_size=12"},  // slices beside one
      {uoe, neurons, width(10), top_k(3), "model.routing.uoe.routed_includes_routing_neurons=false"},
      {uoe, neurons, width(10), top_k(8), "model.norm_topk_prob=false",
       "model.routing.uoe.routed_includes_routing_neurons=false"},
      {uoe, neurons, width(24), top_k(2), "model.routing.uoe.virtual_shared_expert=false"},
  };
  for (const auto& target : targets) {
    std::string text;
    for (const std::string& key : target) text += key + ' ';
    INFO(text);
    const ImportResult result = dense.upcycled(target);
    INFO(result.upcycled);
    CHECK(result.upcycled.find("logits equal the dense model's") != std::string::npos);
    CHECK(largest_difference(logits_of(result.checkpoint), expected) < 2e-6 * largest(expected));
  }
}

TEST_CASE("Where it does not, the import says why, and the logits are of the same kind") {
  Dense dense;
  const std::vector<double> expected = logits_of(dense.checkpoint());
  const std::vector<std::pair<std::vector<std::string>, std::string>> targets = {
      {{softmax, width(24), top_k(2), "model.norm_topk_prob=false"}, "norm_topk_prob: false"},
      {{softmax, width(6), top_k(2)}, "num_experts_per_tok is no multiple of the 4"},
      {{uoe, neurons, width(10), top_k(2)}, "routed_includes_routing_neurons: true"},
      {{uoe, neurons, width(3), top_k(2)}, "a token's experts bid for themselves"},  // every neuron in one expert
  };
  for (const auto& [target, reason] : targets) {
    const ImportResult result = dense.upcycled(target);
    INFO(result.upcycled);
    expect_contains(result.upcycled, "logits differ from the dense model's: " + reason);
    const double difference = largest_difference(logits_of(result.checkpoint), expected);
    CHECK(difference > 1e-5 * largest(expected));
    CHECK(difference < largest(expected));
  }
}

TEST_CASE("UoE's experts share out the dense neurons: routing neurons once, the others as slices") {
  Dense dense;
  const ImportResult result = dense.upcycled({uoe, neurons, width(3), top_k(2)});
  PosixFileLayer files;
  const Checkpoint made(files, result.checkpoint);
  const Checkpoint source(files, dense.checkpoint());
  const std::string layer = "model.layers.1.mlp.";
  const std::string gate = whole_tensor(source, layer + "gate_proj.weight");
  const std::size_t row = 16 * sizeof(float);
  for (std::size_t expert = 0; expert < 8; ++expert) {
    const std::string found = whole_tensor(made, layer + "experts." + std::to_string(expert) + ".gate_proj.weight");
    CHECK(found.substr(0, 2 * row) == gate.substr(2 * expert * row, 2 * row));
    CHECK(found.substr(2 * row) == gate.substr((16 + expert) * row, row));
  }
}

TEST_CASE("Slices of a group begin with one row of the router, groups with different ones") {
  Dense dense;
  const ImportResult result = dense.upcycled({softmax, width(12), top_k(4)});
  PosixFileLayer files;
  const std::string rows = whole_tensor(Checkpoint(files, result.checkpoint), "model.layers.0.mlp.gate.weight");
  const auto row = [&](std::size_t expert) { return rows.substr(expert * 64, 64); };
  // The numbers of a run from random weights: seed 1234, standard deviation 0.02.
  std::string drawn(64, '\0');
  float values[16];
  Rng(1234, "model.layers.0.mlp.gate.weight").fill_normal(0, 16, 0.02, values);
  std::memcpy(drawn.data(), values, 64);
  CHECK(row(0) == drawn);
  CHECK(row(0) == row(1));
  CHECK(row(2) == row(3));
  CHECK(row(0) != row(2));
}

TEST_CASE("What cannot be upcycled is refused, with widths that can") {
  Dense dense;
  const auto error = [&](const std::vector<std::string>& target) {
    return error_text([&] { dense.upcycled(target); });
  };
  expect_contains(error({"model.routing.type=aoe", width(24)}), "model.routing.type softmax or uoe");
  expect_contains(error({softmax, width(7)}), "these would do: 24, 12, 6, 3");
  expect_contains(error({softmax, width(8)}), "these would do: 24, 12, 6, 3");  // three slices, eight experts
  expect_contains(error({uoe, neurons, width(5)}), "these would do: 10, 6, 4, 3");
  expect_contains(error({uoe, "model.routing.uoe.routing_neurons=3", width(5)}), "below 24");
  expect_contains(error({softmax, width(8), "model.shared_expert_intermediate_size=24"}), "below 24");
  expect_contains(error({uoe, neurons, width(12), "model.routing.uoe.virtual_shared_expert=false"}),
                  "model.moe_intermediate_size = 24");
  expect_contains(error({softmax, width(24), "model.qk_norm=true"}), "model.qk_norm false, found true");
}
