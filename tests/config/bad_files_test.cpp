#include <filesystem>
#include <fstream>

#include "config/bad_input.h"
#include "support/temporary_directory.h"

using namespace artel;

// Whole files that no editor should have written, and values that fit their keys but not each other.

namespace {

const std::string kData = "data: {train: [{path: a}]}\n";
const std::string kByteOrderMark = "\xEF\xBB\xBF";

std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

const std::vector<BadInput> kBadFiles = {
    // Nothing, or no YAML at all.
    {"", 0, {"required a config, found an empty file; write at least"}},
    {"\n\n", 0, {"found an empty file"}},
    {"\r\n", 0, {"found an empty file"}},
    {"---\n", 0, {"found an empty file"}},
    {"~\n", 0, {"found an empty file"}},
    {kByteOrderMark, 0, {"found an empty file"}},
    {"{}\n", 0, {"required data.train, found none; write for instance"}},
    {"[]\n", 1, {"required a mapping of keys such as 'model:', found a list"}},
    {",\n", 1, {"required one YAML document, found a second one from column 1 on; remove it"}},
    {"run: {}\n...\nmodel: {}\n", 3, {"required one YAML document, found a second one from column 1 on"}},
    {"42\n", 1, {"required a mapping of keys such as 'model:', found '42'"}},
    {"model\n", 1, {"required a mapping of keys such as 'model:', found 'model'"}},
    {std::string("\x7f"
                 "ELF\2\1\1\0\0",
                 9),
     1,
     {"required UTF-8 text, found a byte that is none; is this a YAML file?"}},
    {std::string("\x1f\x8b\x08\x00", 4), 1, {"required UTF-8 text"}},
    {"\x89PNG\r\n\x1a\n", 1, {"required UTF-8 text"}},
    {std::string("\xff\xfe"
                 "d\0a\0",
                 6),
     1,
     {"required UTF-8 text"}},
    {std::string("\xfe\xff"
                 "\0d\0a",
                 6),
     1,
     {"required UTF-8 text"}},
    {"data:\n  train: \xc3\x28\n", 2, {"required UTF-8 text"}},
    {"data:\n  train: \xed", 2, {"required UTF-8 text"}},
    {std::string("data:\n  train: a\0b\n", 19), 2, {"required UTF-8 text"}},
    {"{\"model\": {\"hidden_size\": 8.0}}\n", 1, {"'model.hidden_size' required an integer", "found '8.0'; write 8"}},
    // Line ends, tabs, invisible letters.
    {"train:\r\n  steps: many\r\n" + kData, 2, {"'train.steps' required an integer", "found 'many'"}},
    {"train:\r\n  stepz: 5\r\n", 2, {"unknown key 'train.stepz'; did you mean 'steps'?"}},
    {"train:\r\n\tsteps: 5\r\n", 2, {"found a tab; YAML indents with spaces only"}},
    {"train:\n  \tsteps: 5\n", 2, {"found a tab; YAML indents with spaces only"}},
    {kByteOrderMark + "train: {stepz: 5}\n", 1, {"unknown key 'train.stepz'"}},
    {kByteOrderMark + "run: {name: 'open}\n" + kData, 2, {"required YAML, found a syntax error"}},
    {"tr\xc2\xa0"
     "ain: {steps: 5}\n",
     1,
     {"unknown key 'tr"}},
    {"\"a\\nb\": 1\n", 1, {"unknown key 'a b'"}},
    {"train: {\"a\\0b\": 1}\n", 1, {"unknown key 'train.a b'"}},
    {"\"a\\nb\": 1\n\"a\\nb\": 1\n", 2, {"key 'a b' is given twice, the first time at bad.yaml:1"}},
    {"\"a.\\n\": 1\n", 1, {"unknown key 'a. '", "dots are for --set"}},
    {"run: {name: \"a\\nb\"}\n", 1, {"'run.name' required a text, not empty, found 'a b' with a line end or another"}},
    {"run: {directory: \"a\\0b\"}\n", 1, {"'run.directory' required a text", "control character; remove it"}},
    {"run:\n  name: |\n    a\n    b\n", 2, {"'run.name' required a text", "control character; remove it"}},
    {"train: {device: \"cpu\\e\"}\n", 1, {"'train.device' required one of auto, cpu, cuda, found 'cpu '"}},
    {"extends: \"a\\nb.yaml\"\n", 1, {"'extends' required the path of a YAML file, found 'a b.yaml' with a control"}},
    // More than anybody would write.
    {repeated("x", 1000) + ": 1\n", 1, {"unknown key 'xxxxx", "…'"}},
    {"train: {" + repeated("x", 1000) + ": 1}\n", 1, {"unknown key 'train.xxxxx", "…'"}},
    {repeated("x.", 500) + ": 1\n", 1, {"unknown key 'x.x.x", "…'"}},
    {"run: {name: !<" + repeated("x", 3000) + "> 1}\n", 1, {"tags such as 'xxxxx", "…'"}},
    {"run: {name: *" + repeated("x", 900) + "}\n", 1, {"required YAML, found a syntax error"}},
    {"train: {steps: " + repeated("9", 5000) + "}\n", 1, {"'train.steps' required an integer", "found '99999", "…'"}},
    {"optimizer: {lr: 0." + repeated("9", 5000) + "e}\n", 1, {"'optimizer.lr' required a finite number", "…'"}},
    {"extends: " + repeated("x", 9000) + "\n",
     1,
     {"'extends' required a YAML file, found no file xxxxx", "…; the path"}},
    {"a: " + repeated("[", 400) + "\n", 1, {"required YAML, found a syntax error"}},
    // Values that fit their keys but not each other.
    {kData + "model: {num_experts: 8, num_experts_per_tok: 9}\n", 2, {"at most model.num_experts 8, found 9"}},
    {kData + "model:\n  num_experts_per_tok: 65536\n", 3, {"at most model.num_experts 16, found 65536"}},
    {kData + "model:\n  num_attention_heads: 3\n",
     3,
     {"multiple of model.num_attention_heads 3, found 256; change one"}},
    {kData + "model:\n  num_attention_heads: 1024\n", 3, {"model.hidden_size required a multiple"}},
    {kData + "model:\n  hidden_size: 1\n", 3, {"required a multiple of model.num_attention_heads 4, found 1"}},
    {kData + "model:\n  head_dim: 3\n", 3, {"model.head_dim required an even number", "found 3"}},
    {kData + "model:\n  num_key_value_heads: 8\n", 3, {"required a divisor of model.num_attention_heads 4, found 8"}},
    {kData +
         "model:\n  num_experts: 0\n  hidden_size: 131072\n  intermediate_size: 1048576\n  num_hidden_layers: 1024\n",
     4,
     {"model required at most 10.0 T parameters, found about", "lower hidden_size"}},
    {kData + "model:\n  shared_expert_intermediate_size: 1048576\n  hidden_size: 131072\n  num_hidden_layers: 1024\n",
     4,
     {"model required at most 10.0 T parameters"}},
    {kData + "model:\n  hidden_size: 131072\n  routing: {type: aoe, aoe: {expert_width: 3145728, d_low: 131072}}\n",
     3,
     {"model required at most 10.0 T parameters"}},
    {kData + "model: {vocab_size: 16777216, hidden_size: 131072, num_hidden_layers: 1024, num_experts: 65536}\n",
     2,
     {"model required at most 10.0 T parameters"}},
    {kData + "train:\n  steps: 1000000000000\n  global_batch_size: 16384\n",
     3,
     {"a run of at most 2^53 tokens, found 1000000000000 steps of 16384 sequences of 256; lower one"}},
    {kData + "train:\n  micro_batch_size: 32\n", 3, {"train.global_batch_size required a multiple of", "32, found 16"}},
    {kData + "train:\n  global_batch_size: 1048576\n  micro_batch_size: 1048575\n", 4, {"required a multiple"}},
    {kData + "model: {num_experts: 0, intermediate_size: 8}\nparallel: {expert: 2}\n", 3, {"the model has no experts"}},
    {kData + "parallel: {expert: 0}\n", 2, {"'parallel.expert' required an integer from 1"}},
    // Out of scope, in the spellings of other programs.
    {kData + "parallel: {tensor_parallel_degree: 2}\n", 2, {"tensor parallelism is out of scope", "remove the key"}},
    {kData + "parallel: {tp: 2}\n", 2, {"'parallel.tp': tensor parallelism is out of scope"}},
    {kData + "parallel: {pp_size: 2}\n", 2, {"pipeline parallelism is out of scope"}},
    {kData + "parallel: {cp: 2}\n", 2, {"context parallelism is out of scope"}},
    {kData + "model: {fp8_recipe: x}\n", 2, {"fp8 is out of scope (not yet); remove the key"}},
    {kData + "train: {precision: fp8_e4m3}\n", 2, {"'train.precision': fp8 is out of scope"}},
    {kData + "parallel: {zero_stage: 3.0}\n", 2, {"'parallel.zero_stage' required an integer from 0 to 1"}},
};

}  // namespace

TEST_CASE("files that are damaged, foreign, excessive or at odds with themselves give one line each") {
  for (const BadInput& bad : kBadFiles) check_message(bad.yaml, bad.line, bad.parts);
}

TEST_CASE("byte order mark and line ends of other systems are no reason to refuse a file") {
  const Config expected = parse_config("run: {name: 'x'}\ntrain:\n  steps: 5\n" + kData, "a.yaml");
  CHECK(parse_config(kByteOrderMark + "run: {name: 'x'}\ntrain:\n  steps: 5\n" + kData, "a.yaml") == expected);
  CHECK(parse_config("run: {name: 'x'}\r\ntrain:\r\n  steps: 5\r\ndata: {train: [{path: a}]}\r\n", "a.yaml") ==
        expected);
  CHECK(parse_config("run: {name: 'x'}\ntrain:\n  steps: 5\ndata: {train: [{path: a}]}", "a.yaml") == expected);
  const Config tabs = parse_config("run: {name: 'x'}\t# comment\ntrain:\n  steps:\t5\n" + kData, "a.yaml");
  CHECK(tabs == expected);
}

TEST_CASE("data files are looked for only when a run is about to start, and the line that names one is named") {
  const TemporaryDirectory directory;
  std::ofstream(directory.file("there.bin")) << "text";
  const std::string there = directory.file("there.bin");
  const auto message = [&](const std::string& text, const std::vector<std::string>& overrides = {}) {
    return error_text([&] { parse_config(text, "run.yaml", overrides, {.data_must_exist = true}); });
  };
  const std::string remedy = "; make it or mend the path, which is relative to the working directory";
  const std::string two = "data:\n  train:\n    - path: " + there + "\n    - path: none.bin\n";
  CHECK(parse_config(two, "run.yaml").data.train.size() == 2);
  CHECK(message(two) ==
        "[config] run.yaml:4: 'data.train.1.path' required a token file, found no file none.bin" + remedy);
  CHECK(message("data:\n  train: [{path: " + there + "}]\n  validation: [{path: none/v.bin}]\n") ==
        "[config] run.yaml:3: 'data.validation.0.path' required a token file, found no file none/v.bin" + remedy);
  CHECK(contains(message(two, {"data.train.1.path=else.bin"}),
                 "[config] --set data.train.1.path=else.bin: 'data.train.1.path' required a token file"));
  CHECK(message(two, {"data.train.1.path=" + there}) == "(no error)");
}
