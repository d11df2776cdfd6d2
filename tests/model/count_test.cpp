#include "model/count.h"

#include "config/resolve.h"
#include "config/yaml.h"
#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

namespace {

const std::string kRoot = ARTEL_SOURCE_DIR;

struct Row {
  const char* size;
  std::vector<std::string> overrides;
  std::int64_t total;
  std::int64_t active;
  std::int64_t flops;
};

/// A small model with every size different, so that a swapped factor shows.
ModelConfig small_model() {
  ModelConfig m;
  m.vocab_size = 50;
  m.hidden_size = 12;
  m.num_hidden_layers = 3;
  m.num_attention_heads = 6;
  m.num_key_value_heads = 2;
  m.head_dim = 4;
  m.max_position_embeddings = 9;
  m.num_experts = 5;
  m.num_experts_per_tok = 2;
  m.moe_intermediate_size = 7;
  return m;
}

/// The same counted tensor by tensor, from the shapes that a checkpoint holds.
std::int64_t outside_feed_forward(const ModelConfig& m) {
  const std::int64_t d = m.hidden_size;
  const std::int64_t q = m.num_attention_heads * m.head_dim;
  const std::int64_t kv = m.num_key_value_heads * m.head_dim;
  std::int64_t layer = q * d + kv * d + kv * d + d * q + d + d;
  if (m.qk_norm) layer += m.head_dim + m.head_dim;
  return m.vocab_size * d + (m.tie_word_embeddings ? 0 : m.vocab_size * d) + d + m.num_hidden_layers * layer;
}

void check_sums(const ModelCount& count) {
  const FlopCount& f = count.flops_per_token;
  CHECK(f.total == f.attention + f.experts + f.routing + f.shared + f.head);
  CHECK(count.active <= count.total);
  CHECK(count.expert <= count.total);
}

}  // namespace

TEST_CASE("the published sizes have exactly the parameters and FLOPs of the table") {
  const std::string softmax = "model.routing.type=softmax";
  const std::string aoe = "model.routing.type=aoe";
  const std::string none = "model.shared_expert_intermediate_size=0";
  const std::vector<Row> rows = {
      {"1b", {softmax, none}, 1102070784, 397427712, 1697169408},
      {"1b", {softmax}, 1114653696, 410010624, 1772666880},
      {"1b", {}, 1101546496, 409289728, 1768341504},
      {"1b", {aoe, none}, 1101284352, 553305088, 2632433664},
      {"3b", {softmax, none}, 3198064128, 819893760, 4190220288},
      {"3b", {softmax}, 3240531456, 862361088, 4445024256},
      {"3b", {}, 3196884480, 862066176, 4443254784},
      {"3b", {aoe, none}, 3196884480, 1347196416, 7354036224},
  };
  for (const Row& row : rows) {
    const Config config = load_config(kRoot + "/configs/paper/" + row.size + "_uoe.yaml", row.overrides);
    const ModelCount count = count_model(config.model);
    INFO(row.size << " " << config.model.routing.type << " " << config.model.shared_expert_intermediate_size);
    CHECK(count.total == row.total);
    CHECK(count.active == row.active);
    CHECK(count.flops_per_token.total == row.flops);
    CHECK(count.embedding == config.model.vocab_size * config.model.hidden_size);
    check_sums(count);
  }
}

TEST_CASE("the parts of the FLOPs of the 1B sizes follow their formulas") {
  const Config uoe = load_config(kRoot + "/configs/paper/1b_uoe.yaml");
  const FlopCount f = count_model(uoe.model).flops_per_token;
  CHECK(f.head == 6LL * 128256 * 1024);
  CHECK(f.routing == 12LL * 1024 * 64 * 9 * 8);
  CHECK(f.shared == 6LL * 1024 * 64 * 9 * 8);
  CHECK(f.experts == 18LL * 1024 * 8 * (512 - 9) * 8);
  CHECK(f.attention == 6LL * 8 * (4 * 1024 * 1024 + 1024 * 2049));
}

TEST_CASE("every routing method has the parameters of its checkpoint tensors") {
  ModelConfig m = small_model();
  const std::int64_t d = 12;
  const std::int64_t layers = 3;
  const std::int64_t outside = outside_feed_forward(m);

  m.routing.type = "softmax";
  m.shared_expert_intermediate_size = 8;
  CHECK(count_model(m).total == outside + layers * (5 * d + 5 * 3 * 7 * d + 3 * 8 * d));
  CHECK(count_model(m).active == outside + layers * (5 * d + 2 * 3 * 7 * d + 3 * 8 * d));
  CHECK(count_model(m).expert == layers * 5 * 3 * 7 * d);
  CHECK(count_model(m).flops_per_token.shared == 6 * layers * 3 * 8 * d);
  CHECK(count_model(m).flops_per_token.routing == 6 * layers * 5 * d);

  m.routing.type = "uoe";
  m.routing.uoe.routing_neurons = 3;
  CHECK(count_model(m).total == outside + layers * 5 * 3 * 7 * d);
  CHECK(count_model(m).active == outside + layers * (5 * 3 * 3 * d + 2 * 3 * 4 * d));
  CHECK(count_model(m).expert == layers * 5 * 3 * 4 * d);

  m.routing.type = "aoe";
  m.routing.aoe.d_low = 4;
  m.routing.aoe.expert_width = 6;
  const std::int64_t per_expert = 4 * 6 + 2 * 6 * d;
  CHECK(count_model(m).total == outside + layers * (5 * (4 * d + per_expert) + 3 * 8 * d));
  CHECK(count_model(m).active == outside + layers * (5 * 4 * d + 2 * per_expert + 3 * 8 * d));
  CHECK(count_model(m).flops_per_token.routing == 6 * layers * 5 * 4 * d);
  CHECK(count_model(m).flops_per_token.experts == 6 * layers * 2 * per_expert);
  CHECK(count_model(m).flops_per_token.shared == 6 * layers * 3 * 8 * d);
  check_sums(count_model(m));
}

TEST_CASE("grouped queries, QK norm and a tied head change the counts that they touch") {
  ModelConfig m = small_model();
  m.routing.type = "softmax";
  const ModelCount plain = count_model(m);
  CHECK(plain.flops_per_token.attention == 6 * 3 * (12 * (24 + 8 + 8) + 24 * 12 + 24 * 10));

  m.qk_norm = true;
  CHECK(count_model(m).total == plain.total + 3 * 8);
  CHECK(count_model(m).flops_per_token.total == plain.flops_per_token.total);
  m.qk_norm = false;

  m.tie_word_embeddings = true;
  CHECK(count_model(m).total == plain.total - 50 * 12);
  CHECK(count_model(m).active == plain.active - 50 * 12);
  CHECK(count_model(m).embedding == plain.embedding);
  CHECK(count_model(m).flops_per_token.head == plain.flops_per_token.head);
}

TEST_CASE("the FLOPs of a dense model stand under experts and all its parameters are active") {
  ModelConfig m = small_model();
  m.num_experts = 0;
  m.intermediate_size = 11;
  m.routing.type = "uoe";
  const ModelCount count = count_model(m);
  CHECK(count.total == outside_feed_forward(m) + 3 * 3 * 11 * 12);
  CHECK(count.active == count.total);
  CHECK(count.expert == 0);
  CHECK(count.flops_per_token.experts == 6 * 3 * 3 * 11 * 12);
  CHECK(count.flops_per_token.routing == 0);
  CHECK(count.flops_per_token.shared == 0);
}

TEST_CASE("counting a model whose sizes are still auto is an error") {
  ModelConfig m = small_model();
  m.routing.type = "uoe";
  CHECK(contains(error_text([&] { count_model(m); }), "model.routing.uoe.routing_neurons"));
  m.routing.type = "aoe";
  CHECK(contains(error_text([&] { count_model(m); }), "model.routing.aoe.d_low"));
  m.head_dim = 0;
  CHECK(contains(error_text([&] { count_model(m); }), "model.head_dim"));
}

TEST_CASE("memory per rank follows precision, expert parallelism and sharding") {
  Config config;
  config.model = small_model();
  config.model.routing.type = "softmax";
  config.model.num_experts = 6;
  config.train.micro_batch_size = 2;
  const ModelCount count = count_model(config.model);

  config.train.precision = "fp32";
  const MemoryEstimate fp32 = memory_bytes_per_rank(config);
  CHECK(fp32.parameters == 4 * count.total);
  CHECK(fp32.gradients == 4 * count.total);
  CHECK(fp32.optimizer == 8 * count.total);
  CHECK(fp32.activations > 0);

  config.train.precision = "auto";
  CHECK(memory_bytes_per_rank(config, {.bf16 = false}).parameters == fp32.parameters);
  const MemoryEstimate bf16 = memory_bytes_per_rank(config, {.bf16 = true});
  CHECK(bf16.parameters == 2 * count.total);
  CHECK(bf16.gradients == 4 * count.total);
  CHECK(bf16.optimizer == 12 * count.total);
  CHECK(bf16.activations < fp32.activations);

  const std::int64_t dense = count.total - count.expert;
  config.parallel.expert = 4;  // six experts over four ranks: the fullest holds two
  const MemoryEstimate spread = memory_bytes_per_rank(config, {.world = 8, .bf16 = true});
  CHECK(spread.parameters == 2 * (dense + count.expert / 3));
  CHECK(spread.optimizer == 12 * ((dense + 7) / 8 + (count.expert / 3 + 1) / 2));
  config.parallel.zero_stage = 0;
  CHECK(memory_bytes_per_rank(config, {.world = 8, .bf16 = true}).optimizer == 12 * (dense + count.expert / 3));
}

TEST_CASE("experts take the memory of the next wider ones whose widths are multiples of 8") {
  Config config;
  config.model = small_model();
  config.model.routing.uoe.routing_neurons = 3;
  config.train.micro_batch_size = 2;
  for (const char* routing : {"softmax", "uoe", "aoe"}) {
    for (const bool bf16 : {false, true}) {
      INFO(routing << " bf16 " << bf16);
      ModelConfig& m = config.model;
      m.routing.type = routing;
      const std::int64_t first = m.routing.type == "uoe" ? 3 : 0;
      const auto estimate = [&](std::int64_t width, std::int64_t low) {
        m.moe_intermediate_size = first + width;
        m.routing.aoe.expert_width = width;
        m.routing.aoe.d_low = low;
        return memory_bytes_per_rank(config, {.bf16 = bf16});
      };
      const MemoryEstimate padded = estimate(9, 3);
      const MemoryEstimate whole = estimate(16, 8);
      CHECK(padded.tensors() == whole.tensors());
      CHECK(padded.parameters < whole.parameters);
      CHECK(estimate(17, 8).tensors() > whole.tensors());
    }
  }
}

TEST_CASE("the estimate of activations grows with tokens and shrinks with recompute") {
  Config config;
  config.model = small_model();
  config.model.routing.type = "softmax";
  config.train.micro_batch_size = 2;
  const std::int64_t two = memory_bytes_per_rank(config).activations;
  config.train.micro_batch_size = 6;
  CHECK(memory_bytes_per_rank(config).activations == 3 * two);
  config.train.recompute = "block";
  CHECK(memory_bytes_per_rank(config).activations < 2 * two);
}

TEST_CASE("describe warns when UoE misses the compute of the matched MoE and names the width that fits") {
  const std::string path = kRoot + "/configs/quickstart/uoe.yaml";
  CHECK(describe_warnings(load_config(path).model).empty());
  CHECK(describe_warnings(load_config(path, {"model.routing.type=softmax"}).model).empty());

  const Config more = load_config(path, {"model.routing.uoe.routing_neurons=40"});
  const std::vector<std::string> warnings = describe_warnings(more.model);
  REQUIRE(warnings.size() == 1);
  CHECK(contains(warnings[0], "more"));
  CHECK(contains(warnings[0], " 560"));
  const Config fitting =
      load_config(path, {"model.routing.uoe.routing_neurons=40", "model.shared_expert_intermediate_size=560"});
  CHECK(describe_warnings(fitting.model).empty());

  const Config fewer = load_config(path, {"model.routing.uoe.routing_neurons=5"});
  REQUIRE(describe_warnings(fewer.model).size() == 1);
  CHECK(contains(describe_warnings(fewer.model)[0], "fewer"));
  CHECK(contains(describe_warnings(fewer.model)[0], " 70"));
}

TEST_CASE("The match that describe asks for is that of the experts, whatever a model spends beside them") {
  const auto warnings = [](const std::string& neurons) {
    return describe_warnings(
        load_config(kRoot + "/configs/paper/1b_uoe.yaml", {"model.routing.uoe.routing_neurons=" + neurons}).model);
  };
  // K·D + D_sh = 8 · 512 + 512, N - K = 56.
  for (const char* neurons : {"8", "9", "10"}) CHECK(warnings(neurons).empty());  // at most 64 of 4608
  REQUIRE(warnings("11").size() == 1);
  CHECK(contains(warnings("11")[0], "2.3 % more FLOPs in its experts"));  // 104
  CHECK(contains(warnings("11")[0], "11 routing neurons match shared_expert_intermediate_size 616"));
  REQUIRE(warnings("7").size() == 1);
  CHECK(contains(warnings("7")[0], "2.6 % fewer"));  // 120
}

TEST_CASE("describe prints every number of the JSON in the text") {
  const Config config = load_config(kRoot + "/configs/paper/1b_uoe.yaml");
  const Json json = describe_json(config);
  CHECK(json["name"] == "uoe-1b");
  CHECK(json["parameters"]["total"] == 1101546496);
  CHECK(json["parameters"]["active"] == 409289728);
  CHECK(json["parameters"]["embedding"] == 131334144);
  CHECK(json["flops_per_token"]["total"] == 1768341504);
  CHECK(json["flops_per_token"].size() == 6);
  CHECK(json["memory_bytes_per_rank"].size() == 6);
  CHECK(json["memory_bytes_per_rank"]["parameters"] == 2 * 1101546496LL);
  CHECK(json["warnings"].empty());

  const std::string text = describe_text(config);
  for (const char* part : {"uoe-1b (uoe)", "1,101,546,496", "409,289,728", "131,334,144", "1,768,341,504", "attention",
                           "experts", "routing", "shared", "head", "gradients", "optimizer", "activations", "bf16"}) {
    CHECK(contains(text, part));
  }
  const Config off = load_config(kRoot + "/configs/quickstart/uoe.yaml", {"model.routing.uoe.routing_neurons=40"});
  CHECK(contains(describe_text(off), "warning: UoE takes"));
  CHECK(describe_json(off)["warnings"].size() == 1);
}
