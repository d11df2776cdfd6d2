#include <map>

#include "config/resolve.h"
#include "config/yaml.h"
#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

namespace {

const std::string kData = "data: {train: [{path: a.bin}]}\n";

/// Every key with a value that is not its default, all of them together a valid config.
const char* kFull = R"(
run: {name: other, directory: /tmp/out, seed: 7, tensorboard: false}
model:
  vocab_size: 300
  hidden_size: 96
  num_hidden_layers: 3
  num_attention_heads: 6
  num_key_value_heads: 2
  head_dim: 18
  max_position_embeddings: 33
  rope_theta: 5.0e5
  rms_norm_eps: 1e-6
  tie_word_embeddings: true
  initializer_range: 0.03
  qk_norm: true
  intermediate_size: 100
  num_experts: 12
  num_experts_per_tok: 3
  moe_intermediate_size: 64
  shared_expert_intermediate_size: 48
  norm_topk_prob: false
  routed_scaling_factor: 2.5
  router_aux_loss_coef: 0.02
  router_aux_loss_scope: global
  router_z_loss_coef: 0.001
  routing:
    type: aoe
    uoe:
      routing_neurons: 4
      routing_signal: glu
      routing_norm: l1
      routed_includes_routing_neurons: false
      virtual_shared_expert: true
      score_scale: 3.0
    aoe: {d_low: 24, expert_width: 70}
data:
  train: [{path: a.bin, weight: 2.0, dtype: uint16, name: first}, {path: b.bin}]
  validation: [{path: v.bin, dtype: uint8, name: held-out}]
  tokenizer: tokenizer.json
  order: megatron
  document_mask: true
  end_of_document: 50256
optimizer: {type: adamw, lr: 3.0e-4, betas: [0.8, 0.9], eps: 1.0e-9, weight_decay: 0.2, grad_clip: 0.5}
schedule: {type: wsd, warmup_steps: 5, min_lr_ratio: 0.25, decay_ratio: 0.5}
train:
  steps: 11
  global_batch_size: 32
  micro_batch_size: 4
  precision: fp32
  init_from: imported
  device: cpu
  threads: 3
  recompute: block
  max_bad_steps: 7
  spike_window: 50
  spike_z_score: 4.5
  spike_action: skip
validation: {every: 10, batches: 4, sample_tokens: 8, sample_prompt: Once, tasks: [{path: q.jsonl, name: quiz}], task_examples: 9}
checkpoint: {every: 20, keep: 5}
parallel: {expert: 2, zero_stage: 0, timeout_seconds: 30.0, expert_across_hosts: true, verify_every: 7}
)";

std::string text_of(Config config, const std::string& key) {
  for (const Field& field : config_fields(config, known_routing_types())) {
    if (field.key == key) return value_text(field);
  }
  return "no such key";
}

/// A file in which `key` alone is set, nested as a file has to be.
std::string nested(const std::string& key, const std::string& value) {
  std::string out;
  std::string indent;
  for (size_t begin = 0; begin <= key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    out += indent + key.substr(begin, end - begin) + ":" + (end == key.size() ? " " + value + "\n" : "\n");
    indent += "  ";
    begin = end + 1;
  }
  return out;
}

/// Values for keys whose value in the full file needs a second key.
const std::map<std::string, std::string> kAlone = {{"model.hidden_size", "512"},
                                                   {"model.num_key_value_heads", "2"},
                                                   {"model.num_attention_heads", "8"},
                                                   {"model.routing.uoe.virtual_shared_expert", "false"}};

/// Keys that resolve to another value when some other key changes.
bool is_derived(const std::string& key) {
  return key == "model.head_dim" || key.rfind("model.routing.", 0) == 0;
}

}  // namespace

TEST_CASE("every key of a full file arrives in its own member") {
  const Config c = parse_config(kFull, "full.yaml");
  CHECK(c.run == RunConfig{"other", "/tmp/out", 7, false});
  const ModelConfig& m = c.model;
  CHECK(m.vocab_size == 300);
  CHECK(m.hidden_size == 96);
  CHECK(m.num_hidden_layers == 3);
  CHECK(m.num_attention_heads == 6);
  CHECK(m.num_key_value_heads == 2);
  CHECK(m.head_dim == 18);
  CHECK(m.max_position_embeddings == 33);
  CHECK(m.rope_theta == 5.0e5);
  CHECK(m.rms_norm_eps == 1e-6);
  CHECK(m.tie_word_embeddings);
  CHECK(m.initializer_range == 0.03);
  CHECK(m.qk_norm);
  CHECK(m.intermediate_size == 100);
  CHECK(m.num_experts == 12);
  CHECK(m.num_experts_per_tok == 3);
  CHECK(m.moe_intermediate_size == 64);
  CHECK(m.shared_expert_intermediate_size == 48);
  CHECK_FALSE(m.norm_topk_prob);
  CHECK(m.routed_scaling_factor == 2.5);
  CHECK(m.router_aux_loss_coef == 0.02);
  CHECK(m.router_aux_loss_scope == "global");
  CHECK(m.router_z_loss_coef == 0.001);
  CHECK(m.routing.type == "aoe");
  CHECK(m.routing.uoe == UoeConfig{4, "glu", "l1", false, true, 3.0});
  CHECK(m.routing.aoe == AoeConfig{24, 70});
  CHECK(c.data.train == std::vector<DataFile>{{"a.bin", 2.0, "uint16", "first"}, {"b.bin", 1.0, "auto", "b"}});
  CHECK(c.data.validation == std::vector<DataFile>{{"v.bin", 1.0, "uint8", "held-out"}});
  CHECK(c.data.tokenizer == "tokenizer.json");
  CHECK(c.optimizer == OptimizerConfig{"adamw", 3e-4, {0.8, 0.9}, 1e-9, 0.2, 0.5});
  CHECK(c.schedule == ScheduleConfig{"wsd", 5, 0.25, 0.5});
  CHECK(c.train == TrainConfig{11, 32, 4, "fp32", "imported", "cpu", 3, "block", 7, 50, 4.5, "skip"});
  CHECK(c.validation == ValidationConfig{10, 4, 8, "Once", {{"q.jsonl", 1.0, "auto", "quiz"}}, 9});
  CHECK(c.checkpoint == CheckpointConfig{20, 5});
  CHECK(c.parallel == ParallelConfig{2, 0, 30.0, true, 7});
}

TEST_CASE("the full file sets every key to something else than its default") {
  Config defaults = parse_config(kData, "a.yaml");
  Config full = parse_config(kFull, "full.yaml");
  const std::vector<Field> a = config_fields(defaults, known_routing_types());
  const std::vector<Field> b = config_fields(full, known_routing_types());
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].key == "optimizer.type" || a[i].key == "model.routing.uoe.virtual_shared_expert") continue;
    INFO(a[i].key);
    CHECK(value_text(a[i]) != value_text(b[i]));
  }
}

TEST_CASE("every key can be set alone, in a file and by an override, and changes only itself") {
  const Config defaults = parse_config(kData, "a.yaml");
  Config full = parse_config(kFull, "full.yaml");
  size_t num_checked = 0;
  for (const Field& field : config_fields(full, known_routing_types())) {
    if (field.key.rfind("data.", 0) == 0 || field.key == "validation.tasks") continue;  // the latter needs data
    const auto alone = kAlone.find(field.key);
    const std::string value = alone == kAlone.end() ? value_text(field) : alone->second;
    INFO(field.key << ": " << value);
    const Config from_file = parse_config(nested(field.key, value) + kData, "a.yaml");
    CHECK(text_of(from_file, field.key) == value);
    const bool has_one_choice = field.choices.size() == 1;
    CHECK((text_of(defaults, field.key) != value || has_one_choice));
    CHECK(parse_config(kData, "a.yaml", {field.key + "=" + value}) == from_file);
    CHECK(parse_config(dump_config(from_file), "dump.yaml") == from_file);
    CHECK(config_from_json(config_json(from_file), "manifest.json") == from_file);
    for (const Field& other : config_fields(full, known_routing_types())) {
      if (other.key == field.key || is_derived(other.key)) continue;
      CHECK(text_of(from_file, other.key) == text_of(defaults, other.key));
    }
    ++num_checked;
  }
  CHECK(num_checked > 50);
}

TEST_CASE("every key of data can be set alone, in a file and by an override") {
  const std::map<std::string, std::string> values = {
      {"data.train", "[{path: b.bin, weight: 2.0, dtype: uint16, name: first}]"},
      {"data.validation", "[{path: v.bin, dtype: uint8, name: held-out}]"},
      {"data.tokenizer", "tokenizer.json"},
      {"data.order", "megatron"},
      {"data.document_mask", "true"},
      {"data.end_of_document", "50256"}};
  Config full = parse_config(kFull, "full.yaml");
  for (const Field& field : config_fields(full, known_routing_types())) {
    if (field.key.rfind("data.", 0) != 0) continue;
    INFO(field.key);
    REQUIRE(values.count(field.key) == 1);
    const std::string& value = values.at(field.key);
    const Config config = parse_config(kData, "a.yaml", {field.key + "=" + value});
    CHECK(text_of(config, field.key) == value);
    const std::string train = field.key == "data.train" ? "" : "  train: [{path: a.bin}]\n";
    CHECK(parse_config(nested(field.key, value) + train, "a.yaml") == config);
    CHECK(parse_config(dump_config(config), "dump.yaml") == config);
  }
}

TEST_CASE("tasks are named after their files and need a validation set") {
  const std::string tasks = "validation: {tasks: [{path: dir/swag.bin}, {path: b.jsonl, name: b}]}\n";
  const Config config = parse_config(tasks + "data: {train: [{path: a.bin}], validation: [{path: v.bin}]}\n", "a.yaml");
  CHECK(config.validation.tasks[0].name == "swag");
  CHECK(parse_config(dump_config(config), "dump.yaml") == config);
  CHECK(config_from_json(config_json(config), "manifest.json") == config);
  CHECK(contains(error_text([&] { parse_config(tasks + kData, "a.yaml"); }), "found no data.validation"));
  CHECK(contains(
      error_text([&] { parse_config("validation: {tasks: [{path: x/s.bin}, {path: y/s.bin}]}\n" + kData, "a.yaml"); }),
      "validation.tasks required names that differ, found 's' twice"));
}

TEST_CASE("a file with data alone has the defaults of the schema") {
  Config expected;
  expected.data.train = {{"a.bin", 1.0, "auto", "a"}};
  resolve_model(expected.model);
  CHECK(parse_config(kData, "a.yaml") == expected);
  CHECK(expected.model.head_dim == 64);
  CHECK(expected.data.validation.empty());
}

TEST_CASE("a dumped config loads back to the same config, as YAML and as JSON") {
  for (const char* text : {kFull, kData.c_str()}) {
    const Config config = parse_config(text, "a.yaml");
    CHECK(parse_config(dump_config(config), "dump.yaml") == config);
    CHECK(dump_config(parse_config(dump_config(config), "dump.yaml")) == dump_config(config));
    CHECK(config_from_json(config_json(config), "manifest.json") == config);
    CHECK(config_from_json(parse_json(dump_json(config_json(config)), "test"), "manifest.json") == config);
  }
}

TEST_CASE("awkward texts and numbers survive a dump") {
  Config config = parse_config(kData, "a.yaml");
  for (const char* name :
       {"1234", "yes", "NULL", "~",   "1e5",  "a: b",  "# no",  "it's",       "say \"x\"", "back\\slash",
        "-",    "é",   "{a}",  "[b]", "a,b",  " lead", "tail ", "2024-01-01", "=",         "*x",
        "&x",   "!x",  "%x",   "@x",  "auto", ".5",    "true",  "a\tb",       "0x10",      "x:y"}) {
    INFO(name);
    config.run.name = name;
    config.data.train[0].path = name;
    config.data.train[0].name = name;
    CHECK(parse_config(dump_config(config), "dump.yaml") == config);
    CHECK(config_from_json(config_json(config), "manifest.json") == config);
  }
  for (const double value : {1e-5, 1.0, 0.1, 1.0 / 3.0, 1e22, 5e-324, 1.7976931348623157e308, 123456789.125}) {
    config.optimizer.lr = value;
    CHECK(parse_config(dump_config(config), "dump.yaml").optimizer.lr == value);
    CHECK(config_from_json(config_json(config), "manifest.json").optimizer.lr == value);
  }
  config.run.seed = 9223372036854775807;
  CHECK(parse_config(dump_config(config), "dump.yaml").run.seed == 9223372036854775807);
}

TEST_CASE("numbers are dumped so that a YAML 1.1 reader takes them for numbers") {
  const std::string dump = dump_config(parse_config(kData, "a.yaml", {"optimizer.lr=1e-5", "model.rope_theta=1e30"}));
  CHECK(contains(dump, "  lr: 1.0e-05\n"));
  CHECK(contains(dump, "  rope_theta: 1.0e+30\n"));
  CHECK(contains(dump, "  grad_clip: 1.0\n"));
  CHECK(contains(dump, "  betas: [0.9, 0.95]\n"));
  CHECK(contains(dump, "  threads: auto\n"));
  CHECK(contains(dump, "    uoe:\n      routing_neurons: auto\n"));
  CHECK(contains(dump, "  train: [{path: a.bin, weight: 1.0, dtype: auto, name: a}]\n"));
}

TEST_CASE("the JSON of a config is nested and typed like the file") {
  const Json json = config_json(parse_config(kFull, "a.yaml"));
  CHECK(json["model"]["routing"]["aoe"]["d_low"] == 24);
  CHECK(json["model"]["tie_word_embeddings"] == true);
  CHECK(json["optimizer"]["betas"][1] == 0.9);
  CHECK(json["data"]["train"][0]["weight"] == 2.0);
  CHECK_FALSE(json["data"]["validation"][0].contains("weight"));
  CHECK(config_json(parse_config(kData, "a.yaml"))["train"]["threads"] == "auto");
}

TEST_CASE("values are accepted in the spellings of YAML 1.2") {
  const auto with = [](const std::string& text) { return parse_config(text + kData, "a.yaml"); };
  CHECK(with("model: {qk_norm: True}\n").model.qk_norm);
  CHECK_FALSE(with("model: {norm_topk_prob: FALSE}\n").model.norm_topk_prob);
  CHECK(with("optimizer: {lr: 1}\n").optimizer.lr == 1.0);
  CHECK(with("optimizer: {lr: +.5}\n").optimizer.lr == 0.5);
  CHECK(with("optimizer: {lr: 1E-3}\n").optimizer.lr == 1e-3);
  CHECK(with("run: {name: 'quoted'}\n").run.name == "quoted");
  CHECK(with("run: {name: \"dou\\\"ble\"}\n").run.name == "dou\"ble");
  CHECK(with("run: {name: 2024}\n").run.name == "2024");
  CHECK(with("train: {threads: auto}\n").train.threads == 0);
  CHECK(with("train:\n").train == TrainConfig{});
  CHECK(with("train: {}\n").train == TrainConfig{});
  CHECK(with("validation: {every: 0, batches: 0}\r\n").validation == ValidationConfig{0, 0, 64, "The ", {}, 0});
  CHECK(with("---\n# comment\n").run == RunConfig{});
}
