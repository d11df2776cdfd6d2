#include "config/resolve.h"

#include "config/yaml.h"
#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

namespace {

Config with(const std::vector<std::string>& overrides, const ParseOptions& options = {}) {
  return parse_config("data: {train: [{path: dir/a.bin}]}\n", "a.yaml", overrides, options);
}

}  // namespace

TEST_CASE("routing neurons match the compute of a shared expert, rounded to nearest with ties up") {
  CHECK(auto_routing_neurons(768, 64, 8) == 14);
  CHECK(auto_routing_neurons(512, 64, 8) == 9);
  CHECK(auto_routing_neurons(256, 16, 2) == 18);
  CHECK(auto_routing_neurons(7, 4, 2) == 4);  // 3.5
  CHECK(auto_routing_neurons(5, 4, 2) == 3);  // 2.5
  CHECK(auto_routing_neurons(4, 5, 2) == 1);  // 1.33
  CHECK(auto_routing_neurons(5, 5, 2) == 2);  // 1.67
  CHECK(auto_routing_neurons(1, 5, 2) == 0);
  CHECK(auto_routing_neurons(0, 5, 2) == 0);
  CHECK(auto_routing_neurons(5, 2, 2) == 0);
}

TEST_CASE("the sizes of AoE are those of the published table and keep the parameters equal") {
  CHECK(auto_d_low(1024) == 341);
  CHECK(auto_d_low(1536) == 512);
  CHECK(auto_d_low(512) == 171);
  CHECK(auto_d_low(1) == 1);
  CHECK(auto_expert_width(1024, 512, 341) == 512);
  CHECK(auto_expert_width(1536, 768, 512) == 768);
  CHECK(auto_expert_width(256, 256, 85) == 293);
  CHECK(auto_expert_width(64, 8, 24) == 0);
  for (const std::int64_t d : {64, 100, 256, 1000}) {
    const std::int64_t r = auto_d_low(d);
    const std::int64_t w = auto_expert_width(d, d, r);
    const std::int64_t excess = r * d + w * r + 2 * w * d - 3 * d * d;
    CHECK(2 * std::abs(excess) <= r + 2 * d);
  }
}

TEST_CASE("auto is resolved on loading where it can be known") {
  const Config config = with({"model.routing.type=uoe", "model.shared_expert_intermediate_size=256"});
  CHECK(config.model.head_dim == 64);
  CHECK(config.model.routing.uoe.routing_neurons == 18);
  CHECK(config.model.routing.aoe.d_low == 85);
  CHECK(config.model.routing.aoe.expert_width == 293);
  CHECK(config.train.threads == 0);
  CHECK(config.train.precision == "auto");
  CHECK(config.train.device == "auto");
  CHECK(config.data.train[0].name == "a");
  CHECK(contains(dump_config(config), "routing_neurons: 18\n"));
}

TEST_CASE("auto that no chosen method needs stays auto instead of failing") {
  const Config plain = with({"model.routing.type=softmax"});
  CHECK(plain.model.routing.uoe.routing_neurons == 0);
  const Config all = with({"model.num_experts=2", "model.routing.type=softmax"});
  CHECK(all.model.routing.uoe.routing_neurons == 0);
  const Config narrow = with({"model.moe_intermediate_size=8", "model.routing.type=softmax"});
  CHECK(narrow.model.routing.aoe.expert_width == 0);
  CHECK(parse_config(dump_config(narrow), "dump.yaml") == narrow);
}

TEST_CASE("an explicit size is not replaced") {
  const Config config = with({"model.head_dim=32", "model.routing.type=uoe", "model.routing.uoe.routing_neurons=5",
                              "model.routing.aoe.d_low=10", "model.routing.aoe.expert_width=11"});
  CHECK(config.model.head_dim == 32);
  CHECK(config.model.routing.uoe.routing_neurons == 5);
  CHECK(config.model.routing.aoe == AoeConfig{10, 11});
}

TEST_CASE("one expert per token works once its weight is not normalised") {
  for (const char* type : {"softmax", "aoe", "uoe"}) {
    const std::vector<std::string> overrides = {"model.num_experts_per_tok=1",
                                                "model.shared_expert_intermediate_size=60",
                                                std::string("model.routing.type=") + type};
    CHECK(contains(error_text([&] { with(overrides); }), "set norm_topk_prob: false"));
    std::vector<std::string> fixed = overrides;
    fixed.push_back("model.norm_topk_prob=false");
    CHECK(with(fixed).model.num_experts_per_tok == 1);
  }
}

TEST_CASE("all experts may be selected, and UoE then needs an explicit number of routing neurons") {
  const Config config = with({"model.num_experts=4", "model.num_experts_per_tok=4", "model.routing.type=uoe",
                              "model.routing.uoe.routing_neurons=7"});
  CHECK(config.model.routing.uoe.routing_neurons == 7);
  CHECK(with({"model.num_experts=4", "model.num_experts_per_tok=4"}).model.num_experts == 4);
}

TEST_CASE("a dense model ignores the routing method") {
  const Config config = with(
      {"model.num_experts=0", "model.intermediate_size=64", "model.routing.type=uoe", "model.num_experts_per_tok=1"});
  CHECK(config.model.intermediate_size == 64);
  CHECK(contains(error_text([] {
                   with({"model.num_experts=0", "model.intermediate_size=8", "parallel.expert=2"});
                 }),
                 "the model has no experts"));
}

TEST_CASE("routing types for tests are accepted only when the caller names them") {
  const std::vector<std::string> types = {"softmax", "uoe", "aoe", "test_top_p", "test_bias_balanced"};
  for (const char* type : {"test_top_p", "test_bias_balanced"}) {
    const std::vector<std::string> overrides = {std::string("model.routing.type=") + type};
    CHECK(contains(error_text([&] { with(overrides); }), "required one of softmax, uoe, aoe"));
    const Config config = with(overrides, {.routing_types = types});
    CHECK(config.model.routing.type == type);
    CHECK(config_from_json(config_json(config), "manifest.json", {.routing_types = types}) == config);
    CHECK(contains(error_text([&] { config_from_json(config_json(config), "manifest.json"); }), "required one of"));
  }
}

TEST_CASE("a model built in code is resolved and checked without sources") {
  ModelConfig model;
  resolve_model(model);
  CHECK(model.head_dim == 64);
  model.num_key_value_heads = 3;
  CHECK(error_text([&] { resolve_model(model); }) ==
        "[config] model.num_key_value_heads required a divisor of model.num_attention_heads 4, found 3");
}
