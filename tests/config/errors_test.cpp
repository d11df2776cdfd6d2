#include <ctime>
#include <fstream>

#include "config/bad_input.h"
#include "config/node.h"
#include "support/temporary_directory.h"
#include "util/text.h"

using namespace artel;

namespace {

/// Appended to one line of valid data, so that their first line is line 2.
const std::vector<BadInput> kBadInputs = {
    // Names of keys.
    {"model: {hiden_size: 8}\n", 2, {"unknown key 'model.hiden_size'; did you mean 'hidden_size'?"}},
    {"modle: {hidden_size: 8}\n", 2, {"unknown key 'modle'; did you mean 'model'?"}},
    {"model:\n  routing:\n    uoe:\n      routing_neuron: 3\n",
     5,
     {"'model.routing.uoe.routing_neuron'", "'routing_neurons'"}},
    {"model:\n  lr: 1\n", 3, {"unknown key 'model.lr'; did you mean 'optimizer.lr'?"}},
    {"hidden_size: 8\n", 2, {"unknown key 'hidden_size'; did you mean 'model.hidden_size'?"}},
    {"train: {frobnicate: 1}\n", 2, {"unknown key 'train.frobnicate'; keys known here: steps, global_batch_size"}},
    {"model.hidden_size: 8\n", 2, {"unknown key 'model.hidden_size'", "write 'model: {"}},
    {"model: {routing.type: uoe}\n", 2, {"unknown key 'model.routing.type'", "write 'routing: {"}},
    {"model:\n  routing:\n    moe: {x: 1}\n", 4, {"unknown key 'model.routing.moe'"}},
    {"train: {extends: x.yaml}\n", 2, {"unknown key 'train.extends'"}},
    // Keys given twice.
    {"train:\n  steps: 1\n  lr: 1\n  steps: 2\n",
     5,
     {"key 'steps' is given twice, the first time at bad.yaml:3; remove"}},
    {"data: {train: [{path: b}]}\n", 2, {"key 'data' is given twice, the first time at bad.yaml:1"}},
    {"extends: a.yaml\nextends: b.yaml\n", 3, {"key 'extends' is given twice, the first time at bad.yaml:2"}},
    {"model:\n  routing: {uoe: {score_scale: 1, score_scale: 2}}\n", 3, {"key 'score_scale' is given twice"}},
    // Blocks and values of the wrong kind.
    {"model: 5\n", 2, {"'model' required a mapping of keys such as vocab_size", "found '5'"}},
    {"model: [a]\n", 2, {"'model' required a mapping of keys", "found a list"}},
    {"model:\n  routing: uoe\n", 3, {"'model.routing' required a mapping of keys such as type", "found 'uoe'"}},
    {"model: {hidden_size: {a: 1}}\n",
     2,
     {"'model.hidden_size' required an integer from 1 to 131072, found a mapping"}},
    {"model: {hidden_size: [8]}\n", 2, {"'model.hidden_size' required an integer", "found a list"}},
    {"model: {hidden_size: }\n", 2, {"'model.hidden_size' required an integer", "found nothing"}},
    {"run:\n  name:\n  seed: 1\n", 3, {"'run.name' required a text, not empty, found nothing"}},
    {"run: {name: ''}\n", 2, {"'run.name' required a text, not empty, found ''"}},
    {"run: {name: null}\n", 2, {"'run.name' required a text", "found nothing"}},
    // Integers.
    {"model: {hidden_size: big}\n", 2, {"'model.hidden_size' required an integer", "found 'big'"}},
    {"model: {hidden_size: 8.5}\n", 2, {"'model.hidden_size' required an integer", "found '8.5'"}},
    {"train: {steps: 1e3}\n", 2, {"'train.steps' required an integer", "found '1e3'; write 1000"}},
    {"train: {steps: 1_000}\n", 2, {"'train.steps' required an integer", "found '1_000'"}},
    {"train: {steps: '100'}\n", 2, {"'train.steps' required an integer", "found '100'; remove the quotation marks"}},
    {"model: {hidden_size: 0}\n", 2, {"'model.hidden_size' required an integer from 1 to 131072, found '0'"}},
    {"model: {hidden_size: -8}\n", 2, {"'model.hidden_size' required an integer from 1", "found '-8'"}},
    {"model: {hidden_size: 99999999999999999999}\n", 2, {"'model.hidden_size' required an integer from 1 to 131072"}},
    {"model: {vocab_size: 1}\n", 2, {"'model.vocab_size' required an integer from 2 to 16777216, found '1'"}},
    {"run: {seed: -1}\n", 2, {"'run.seed' required an integer of at least 0, found '-1'"}},
    {"model: {hidden_size: auto}\n", 2, {"'model.hidden_size' required an integer from 1 to 131072, found 'auto'"}},
    {"train: {threads: 0}\n", 2, {"'train.threads' required an integer from 1 to 4096 or 'auto', found '0'"}},
    {"model: {routing: {uoe: {routing_neurons: 0}}}\n",
     2,
     {"'model.routing.uoe.routing_neurons' required", "or 'auto'"}},
    // Numbers.
    {"optimizer: {lr: fast}\n", 2, {"'optimizer.lr' required a finite number of at least 0, found 'fast'"}},
    {"optimizer: {lr: .nan}\n", 2, {"'optimizer.lr' required a finite number", "found '.nan'"}},
    {"optimizer: {lr: nan}\n", 2, {"'optimizer.lr' required a finite number", "found 'nan'"}},
    {"optimizer: {lr: .inf}\n", 2, {"'optimizer.lr' required a finite number", "found '.inf'"}},
    {"optimizer: {lr: inf}\n", 2, {"'optimizer.lr' required a finite number", "found 'inf'"}},
    {"optimizer: {lr: 1e999}\n", 2, {"'optimizer.lr' required a finite number", "found '1e999'"}},
    {"optimizer: {lr: -1e-3}\n", 2, {"'optimizer.lr' required a finite number of at least 0, found '-1e-3'"}},
    {"optimizer: {lr: \"1e-3\"}\n", 2, {"'optimizer.lr' required", "remove the quotation marks"}},
    {"optimizer: {lr: 1e-3 1e-4}\n", 2, {"'optimizer.lr' required a finite number", "found '1e-3 1e-4'"}},
    {"optimizer: {eps: 0}\n", 2, {"'optimizer.eps' required a finite number above 0, found '0'"}},
    {"model: {rms_norm_eps: 1}\n", 2, {"'model.rms_norm_eps' required a finite number above 0 and below 1, found '1'"}},
    {"schedule: {min_lr_ratio: 1.5}\n",
     2,
     {"'schedule.min_lr_ratio' required a finite number of at least 0 and of at most 1"}},
    {"schedule: {decay_ratio: 0}\n", 2, {"'schedule.decay_ratio' required a finite number above 0", "found '0'"}},
    {"model: {routed_scaling_factor: 0}\n", 2, {"'model.routed_scaling_factor' required a finite number above 0"}},
    // Lists of numbers.
    {"optimizer: {betas: 0.9}\n", 2, {"'optimizer.betas' required a list of 2 finite numbers", "found '0.9'"}},
    {"optimizer: {betas: [0.9, 0.95, 0.99]}\n", 2, {"'optimizer.betas' required a list of 2", "found a list of 3"}},
    {"optimizer: {betas: [0.9, 1.0]}\n", 2, {"'optimizer.betas' required", "below 1", "found '1.0'"}},
    {"optimizer:\n  betas:\n    - 0.9\n    - x\n", 5, {"'optimizer.betas' required", "found 'x'"}},
    // Truth values and choices.
    {"model: {qk_norm: yes}\n", 2, {"'model.qk_norm' required true or false, found 'yes'"}},
    {"model: {qk_norm: 1}\n", 2, {"'model.qk_norm' required true or false, found '1'"}},
    {"model: {qk_norm: 'true'}\n", 2, {"'model.qk_norm' required true or false", "remove the quotation marks"}},
    {"schedule: {type: cosin}\n", 2, {"one of cosine, linear, wsd, constant, found 'cosin'; did you mean 'cosine'?"}},
    {"optimizer: {type: sgd}\n", 2, {"'optimizer.type' required one of adamw, found 'sgd'"}},
    {"model: {routing: {type: uo}}\n", 2, {"'model.routing.type' required one of softmax, uoe, aoe", "mean 'uoe'?"}},
    {"model: {routing: {type: test_top_p}}\n", 2, {"'model.routing.type' required one of softmax, uoe, aoe, found"}},
    {"model: {router_aux_loss_scope: local}\n", 2, {"one of sequence, micro, global, found 'local'"}},
    {"train: {precision: fp16}\n", 2, {"'train.precision' required one of auto, fp32, bf16, found 'fp16'"}},
    {"train: {device: gpu}\n", 2, {"'train.device' required one of auto, cpu, cuda, found 'gpu'"}},
    {"train: {recompute: full}\n", 2, {"'train.recompute' required one of none, block"}},
    // Blocks of methods that are not chosen are checked.
    {"model: {routing: {type: softmax, uoe: {routing_norm: l3}}}\n", 2, {"routing_norm' required one of l2, l1, linf"}},
    {"model: {routing: {type: softmax, aoe: {d_low: -3}}}\n",
     2,
     {"'model.routing.aoe.d_low' required an integer from 1"}},
    // Out of scope, by name.
    {"parallel: {tensor: 1}\n", 2, {"'parallel.tensor': tensor parallelism is out of scope", "remove the key"}},
    {"parallel: {pipeline_parallel_size: 2}\n", 2, {"pipeline parallelism is out of scope"}},
    {"parallel: {context: 2}\n", 2, {"context parallelism is out of scope"}},
    {"tensor_model_parallel_size: 2\n", 2, {"tensor parallelism is out of scope"}},
    {"train: {sequence_parallel: true}\n", 2, {"sequence parallelism is out of scope"}},
    {"parallel: {zero_stage: 2}\n", 2, {"'parallel.zero_stage': ZeRO stage 2 is out of scope; use 0 or 1"}},
    {"parallel: {zero_stage: 3}\n", 2, {"ZeRO stage 3 is out of scope"}},
    {"parallel: {zero_stage: 4}\n", 2, {"'parallel.zero_stage' required an integer from 0 to 1, found '4'"}},
    {"train: {precision: fp8}\n", 2, {"'train.precision': fp8 is out of scope", "use auto, fp32, bf16"}},
    {"train: {fp8: true}\n", 2, {"'train.fp8': fp8 is out of scope"}},
    // Keys against each other.
    {"model: {hidden_size: 250, num_attention_heads: 4}\n",
     2,
     {"model.hidden_size required a multiple of", "found 250"}},
    {"model:\n  hidden_size: 12\n  num_attention_heads: 4\n", 4, {"model.head_dim required an even number", "found 3"}},
    {"model:\n  head_dim: 7\n", 3, {"model.head_dim required an even number", "found 7"}},
    {"model:\n  num_key_value_heads: 3\n", 3, {"model.num_key_value_heads required a divisor of", "found 3"}},
    {"model:\n  num_experts: 0\n", 3, {"required model.intermediate_size above 0"}},
    {"model:\n  num_experts: 4\n  num_experts_per_tok: 5\n",
     4,
     {"num_experts_per_tok required at most model.num_experts 4"}},
    {"model:\n  num_experts_per_tok: 1\n", 3, {"set norm_topk_prob: false"}},
    {"model: {routing: {uoe: {virtual_shared_expert: false, routed_includes_routing_neurons: false}}}\n",
     2,
     {"set one to true"}},
    {"train:\n  global_batch_size: 10\n  micro_batch_size: 4\n",
     4,
     {"train.global_batch_size required a multiple", "found 10"}},
    {"train:\n  global_batch_size: 8\n", 3, {"required a multiple of train.micro_batch_size 16, found 8"}},
    {"parallel:\n  expert: 17\n", 3, {"parallel.expert required at most 16 (model.num_experts), found 17"}},
    {"run: {name: a/b}\n", 2, {"run.name required the name of a directory", "run.directory"}},
    {"run: {name: ..}\n", 2, {"run.name required the name of a directory", "found '..'"}},
    {"model:\n  hidden_size: 131072\n  num_experts: 60000\n  moe_intermediate_size: 999999\n",
     3,
     {"at most 10.0 T parameters"}},
    // YAML itself.
    {"model:\n\thidden_size: 8\n", 3, {"found a tab; YAML indents with spaces only"}},
    {"model:\n  hidden_size: 8\n num_experts: 4\n",
     4,
     {"required YAML, found a syntax error in column", "check indentation"}},
    {"run: {name: a\n", 2, {"required YAML, found a syntax error", "brackets"}},
    {"run: {name: a]}\n", 2, {"required YAML, found a syntax error"}},
    {"run: {name: *ref}\n", 2, {"required YAML, found a syntax error", "anchor"}},
    {"run: {name: 'open}\ntrain: {steps: 5}\n", 3, {"required YAML, found a syntax error", "quotation marks"}},
    {"run:\n  name: \"open\n  seed: 1\n", 3, {"quotation mark opened in column 9 is not closed"}},
    {"run: a: b\n", 2, {"required YAML, found a syntax error"}},
    {"run: {name: @x}\n", 2, {"required YAML, found a syntax error"}},
    {"<<: {a: 1}\n", 2, {"merge keys '<<' are not supported; use 'extends"}},
    {"run: {name: !secret x}\n", 2, {"tags such as '!secret' are not supported"}},
    {"? [a]\n: 1\n", 2, {"required a key before ':'"}},
    {"run: {: x}\n", 2, {"required a key before ':'"}},
    {"---\nrun: {}\n", 2, {"found a second one", "remove"}},
    {"run: {name: \x01}\n", 2, {"required UTF-8 text"}},
    {"run:\n  name: \xff\n", 3, {"required UTF-8 text"}},
};

/// Bad inputs in the data block, whole files.
const std::vector<BadInput> kBadData = {
    {"run: {}\n", 0, {"required data.train, found none; write for instance"}},
    {"data:\n", 0, {"required data.train, found none"}},
    {"\ndata: {validation: [{path: a}]}\n", 2, {"required data.train, found none"}},
    {"data: {train: []}\n",
     1,
     {"'data.train' required a list of files such as [{path: FILE}], not empty, found an empty list"}},
    {"data: {train: a.bin}\n", 1, {"'data.train' required a list of files", "found 'a.bin'"}},
    {"data: {train: }\n", 1, {"'data.train' required a list of files", "found nothing"}},
    {"data: {train: {path: a}}\n", 1, {"'data.train' required a list of files", "found a mapping"}},
    {"data:\n  train:\n    - a.bin\n", 3, {"'data.train.0' required a mapping such as {path: FILE}, found 'a.bin'"}},
    {"data:\n  train:\n    - path: a\n    - weight: 1\n", 4, {"'data.train.1' required the key 'path', found none"}},
    {"data:\n  train:\n    - path: a\n    -\n\n  validation: []\n",
     2,
     {"'data.train.1' required a mapping", "found nothing"}},
    {"a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
     1,
     {"at most 32 levels of nesting"}},
    {"data: {train: [{path: ''}]}\n", 1, {"'data.train.0.path' required a text, not empty"}},
    {"data: {train: [{path: a, weight: 0}]}\n",
     1,
     {"'data.train.0.weight' required a finite number above 0, found '0'"}},
    {"data: {train: [{path: a, dtype: int8}]}\n",
     1,
     {"one of auto, uint8, uint16, uint32, found 'int8'; did you mean 'uint8'?"}},
    {"data:\n  train:\n    - path: a\n      wieght: 1\n",
     4,
     {"unknown key 'data.train.0.wieght'; did you mean 'weight'?"}},
    {"data: {train: [{path: a, path: b}]}\n", 1, {"key 'path' is given twice"}},
    {"data:\n  train: [{path: a}]\n  validation: [{path: b, weight: 2}]\n",
     3,
     {"unknown key 'data.validation.0.weight'", "path, dtype, name"}},
    {"data:\n  train: [{path: a}]\n  validation:\n    - path: x/v.bin\n    - path: y/v.bin\n",
     5,
     {"required names that differ, found 'v' twice"}},
    {"data:\n  train: [{path: a}]\n  validation: 5\n", 3, {"'data.validation' required a list of files", "found '5'"}},
};

}  // namespace

TEST_CASE("every bad input is one line that names file, line, key and what to do") {
  for (const BadInput& bad : kBadInputs) check_message("data: {train: [{path: a}]}\n" + bad.yaml, bad.line, bad.parts);
  for (const BadInput& bad : kBadData) check_message(bad.yaml, bad.line, bad.parts);
  CHECK(kBadInputs.size() + kBadData.size() >= 60);
}

TEST_CASE("errors of UoE sizes name the rule that is broken") {
  const std::string head = "data: {train: [{path: a}]}\nmodel:\n  routing: {type: uoe}\n  ";
  const auto check = [&](const std::string& keys, int line, const std::vector<std::string>& parts) {
    check_message(head + keys, line, parts);
  };
  check("shared_expert_intermediate_size: 0\n", 4,
        {"auto required model.shared_expert_intermediate_size above 0", "integer"});
  check("num_experts: 4\n  num_experts_per_tok: 4\n", 5, {"auto required model.num_experts above", "found both 4"});
  check("shared_expert_intermediate_size: 6\n", 4, {"auto required a result from 1 to 255, found 0 = ", "raise"});
  check("shared_expert_intermediate_size: 4000\n", 4, {"auto required a result from 1 to 255, found 286", "lower"});
  check("shared_expert_intermediate_size: 8\n  num_experts_per_tok: 1\n", 5, {"set norm_topk_prob: false"});
}

TEST_CASE("an explicit number of routing neurons lies below the width of an expert") {
  const std::string head = "data: {train: [{path: a}]}\nmodel:\n  moe_intermediate_size: 32\n";
  const std::string block = "  routing:\n    type: uoe\n    uoe:\n      routing_neurons: ";
  CHECK(parse_config(head + block + "31\n", "a.yaml").model.routing.uoe.routing_neurons == 31);
  check_message(head + block + "32\n", 7, {"routing_neurons required an integer from 1 to 31", "found 32"});
}

TEST_CASE("errors of AoE sizes name the rule that is broken") {
  const std::string head = "data: {train: [{path: a}]}\nmodel:\n  hidden_size: 64\n  moe_intermediate_size: 8\n";
  const std::string block = "  routing:\n    type: aoe\n    aoe:\n      ";
  check_message(head + block + "d_low: 65\n", 8, {"d_low required at most model.hidden_size 64, found 65"});
  check_message(head + block + "d_low: 24\n", 8, {"expert_width: auto required a result of at least 1, found 0"});
  CHECK(parse_config(head + block + "{d_low: 24, expert_width: 3}\n", "a.yaml").model.routing.aoe.expert_width == 3);
}

TEST_CASE("a config built from JSON is checked like a file") {
  const auto message = [](const char* text) {
    return error_text([&] { config_from_json(parse_json(text, "test"), "step-1/manifest.json"); });
  };
  CHECK(message("[]") == "[config] step-1/manifest.json: required a config object, found array");
  CHECK(contains(message(R"({"model": {"hiden_size": 3}})"), "step-1/manifest.json: unknown key 'model.hiden_size'"));
  CHECK(contains(message(R"({"model": {"hidden_size": 8.0}})"), "'model.hidden_size' required an integer"));
  CHECK(contains(message(R"({"model": {"hidden_size": "8"}})"), "remove the quotation marks"));
  CHECK(contains(message(R"({"model": {"qk_norm": "true"}})"), "required true or false"));
  CHECK(contains(message(R"({"extends": "a.yaml"})"), "'extends'"));
  CHECK(contains(message("{}"), "required data.train"));
}

TEST_CASE("files that are no config are refused by name") {
  const TemporaryDirectory dir;
  const auto message = [&](const std::string& name, const std::string& contents) {
    std::ofstream(dir.file(name)) << contents;
    return error_text([&] { load_config(dir.file(name)); });
  };
  const std::string place = "[config] " + dir.file("x.yaml");
  CHECK(contains(message("x.yaml", ""), place + ": required a config, found an empty file"));
  CHECK(contains(message("x.yaml", "# only a comment\n"), place + ": required a config, found an empty file"));
  CHECK(contains(message("x.yaml", "- a\n- b\n"),
                 place + ":1: required a mapping of keys such as 'model:', found a list"));
  CHECK(contains(message("x.yaml", "\njust text\n"), place + ":2: required a mapping of keys"));
  CHECK(contains(message("x.yaml", std::string("\0\1\2", 3)), place + ":1: required UTF-8 text"));
  CHECK(contains(message("x.yaml", std::string(kMaxConfigBytes + 1, '#')),
                 place + ": required a YAML file of at most 262144"));
  CHECK(contains(error_text([&] { load_config(dir.file("none.yaml")); }),
                 "none.yaml: required a YAML file, found no such file"));
  CHECK(contains(error_text([&] { load_config(dir.path()); }), "required a YAML file, found a directory"));
  CHECK(contains(error_text([&] { load_config("/dev/null"); }), "/dev/null: required a regular YAML file"));
}

TEST_CASE("hostile files fail in well under a second") {
  const auto seconds = [](const std::string& text) {
    const std::clock_t start = std::clock();  // processor time: a busy machine must not fail this
    const std::string message = error_text([&] { parse_config(text, "bad.yaml"); });
    INFO(message);
    CHECK(message.rfind("[config] bad.yaml", 0) == 0);
    CHECK(message.find('\n') == std::string::npos);
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  CHECK(seconds(std::string(5000, '[')) < 1.0);
  CHECK(seconds("a: " + std::string(40, '[') + std::string(40, ']')) < 1.0);
  CHECK(seconds("a: &a [*a]\n") < 1.0);
  CHECK(seconds(std::string(1000, ',')) < 1.0);
  std::string laughs = "a0: &a0 [x]\n";
  for (int i = 1; i < 30; ++i) laughs += concat("a", i, ": &a", i, " [*a", i - 1, ", *a", i - 1, "]\n");
  CHECK(seconds(laughs) < 1.0);
  std::string many;
  for (int i = 0; i < 20000; ++i) many += concat("k", i, ": 1\n");
  CHECK(seconds(many) < 1.0);
  CHECK(seconds("run: {name: 5, " + std::string(100000, 'x') + ": 1}\n") < 1.0);
}
