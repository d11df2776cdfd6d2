#include <filesystem>
#include <set>

#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/snapshots.h"
#include "config/yaml.h"
#include "fuzz/fuzz.h"
#include "report/synthetic_runs.h"
#include "support/token_files.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/patterns.h"
#include "util/files.h"
#include "util/npy.h"

// write_seeds DIRECTORY: what the fuzz targets start from, DIRECTORY/TARGET/*, made by the code that they test, and the
// words of configs in DIRECTORY/config.dict.

using namespace artel;

namespace {

class Seeds {
 public:
  Seeds(std::string directory, std::string target) : path_(join_path(directory, target)) {
    std::filesystem::create_directories(path_);
  }
  void add(std::string_view bytes) { write_bytes(join_path(path_, std::to_string(count_++)), bytes); }

 private:
  std::string path_;
  int count_ = 0;
};

void write_configs(const std::string& directory) {
  Seeds seeds(directory, "config");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(ARTEL_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".yaml") continue;
    seeds.add(read_file(entry.path().string()));
    seeds.add(dump_config(load_config(entry.path().string())));
  }
  seeds.add("data:\n  train:\n  - {path: \"a b\", weight: 2, dtype: uint16}\n  validation: [{path: 'v'}]\n");
  seeds.add(
      "\xEF\xBB\xBF"
      "data: {train: [{path: &x a, name: *x}]}\r\n# comment\r\nrun:\r\n  name: |-\r\n    text\r\n");

  Config config;
  std::set<std::string> words = {"extends", "auto",     "true", "!!str",  "&a",   "*a",
                                 "<<:",     "---\\x0A", "path", "weight", "dtype"};
  for (const Field& field : config_fields(config, known_routing_types())) {
    std::string part;
    for (const char letter : field.key + ".") {
      if (letter != '.') {
        part += letter;
        continue;
      }
      words.insert(part);
      part.clear();
    }
    words.insert(field.choices.begin(), field.choices.end());
  }
  std::string dictionary;
  for (const std::string& word : words) dictionary += "\"" + word + "\"\n";
  write_bytes(join_path(directory, "config.dict"), dictionary);
}

void write_token_files(const std::string& directory) {
  Seeds seeds(directory, "token_file");
  for (const char choice : {'\x00', '\x04', '\x05', '\x12', '\x1b', '\x84'}) {
    seeds.add(std::string(1, choice) + "some text that stands for tokens\n");
    seeds.add(std::string(1, choice) + llmc_file(20240520, 1, 3, little_endian({7, 50256, 9}, 2)));
    seeds.add(std::string(1, choice) + llmc_file(20240801, 7, 3, little_endian({7, 100000, 9}, 4)));
  }
}

void write_megatron(const std::string& directory) {
  Seeds seeds(directory, "megatron");
  constexpr std::pair<int, size_t> types[] = {{1, 1}, {2, 1}, {3, 2}, {4, 4}, {5, 8}, {8, 2}};
  for (const auto& [code, width] : types) {
    const std::string ids = little_endian({5, 100, 7, 0, 9}, width);
    const std::string index = megatron_index(code, width, {1, 0, 3, 1}, {0, 2, 2, 4});
    seeds.add(std::string(1, static_cast<char>(ids.size())) + index + ids);
  }
}

void write_npy(const std::string& directory) {
  Seeds seeds(directory, "npy");
  const std::string table = "0,2,a\n2,3,\"b, c\",d\n";
  const std::string ids = little_endian({7, 50279, 9}, 2);
  constexpr std::pair<const char*, size_t> types[] = {{"|u1", 1}, {"<u2", 2}, {"<u4", 4}, {"<i4", 4}, {"<i8", 8}};
  for (const auto& [type, width] : types) {
    const std::string file = npy_header(type, {3}) + little_endian({7, 90, 9}, width);
    seeds.add(std::string(1, '\0') + file);
    seeds.add(std::string(1, static_cast<char>(table.size())) + file + table);
  }
  seeds.add(std::string(1, '\0') + ids);
  seeds.add(std::string(1, static_cast<char>(table.size())) + ids + table);
}

void write_choice_tasks(const std::string& directory) {
  Seeds seeds(directory, "choice_task");
  seeds.add(
      llmc_file(20240522, 1, 1, little_endian({65535, 38, 0, 2, 4, 2, 7, 8, 1, 1, 2, 2, 3, 1, 4, 3, 5, 6, 9}, 2)));
  seeds.add("{\"context\": \"ab\", \"completions\": [\" c\", \"d\\u00e9\"], \"label\": 1}\n\n");
  seeds.add("{\"context\": [1], \"completions\": [[2], [3, 4]], \"label\": 0}\n");
}

// A few merges, and every kind of what may stand around them.
void write_tokenizers(const std::string& directory) {
  Seeds seeds(directory, "tokenizer");
  Json root;
  Json& model = root["model"];
  model["type"] = "BPE";
  for (int byte = 0; byte < 256; ++byte) {
    model["vocab"][byte_characters(std::string(1, static_cast<char>(byte)))] = byte;
  }
  for (const char* token : {"ab", "abab", "el"}) model["vocab"][token] = model["vocab"].size();
  model["merges"] = Json::array({"a b", "ab ab", Json::array({"e", "l"})});
  root["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  root["decoder"] = {{"type", "ByteLevel"}};
  root["added_tokens"] = Json::array({{{"id", 259}, {"content", "<|endoftext|>"}, {"special", true}},
                                      {{"id", 260}, {"content", "world"}, {"single_word", true}, {"lstrip", true}}});
  seeds.add(dump_json(root));
  root["model"]["ignore_merges"] = true;
  root["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "NFKD"}}}}};
  for (const SplitPattern& pattern : json_patterns()) {
    root["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Digits"}, {"individual_digits", true}},
          {{"type", "Split"}, {"pattern", {{"Regex", pattern.pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
          {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", false}}}}};
    seeds.add(dump_json(root));
  }
  // Without most bytes, the others unknown.
  root["normalizer"] = {{"type", "NFKC"}};
  root["model"] = {{"type", "BPE"}, {"unk_token", "?"}, {"fuse_unk", true}};
  root["model"]["vocab"] = {{"?", 0}, {"a", 1}, {"b", 2}, {"ab", 3}};
  root["model"]["merges"] = Json::array({"a b"});
  root["added_tokens"] = Json::array({{{"id", 4}, {"content", "</s>"}, {"rstrip", true}, {"normalized", true}}});
  seeds.add(dump_json(root));
}

void write_safetensors(const std::string& directory) {
  Seeds seeds(directory, "safetensors");
  std::vector<SafetensorsEntry> none;
  seeds.add(safetensors_header(none));
  std::vector<SafetensorsEntry> entries;
  std::string data;
  for (const TensorPiece& piece : make_snapshot(1).pieces) {
    entries.push_back(
        {piece.name + "@" + piece.begin.to_string(), piece.dtype, Rectangle{piece.begin, piece.end}.extent()});
    data.append(piece.bytes.begin(), piece.bytes.end());
    std::vector<SafetensorsEntry> one = {entries.back()};
    seeds.add(safetensors_header(one) + std::string(piece.bytes.begin(), piece.bytes.end()));
  }
  seeds.add(safetensors_header(entries) + data);
}

void write_manifests(const std::string& directory) {
  Seeds seeds(directory, "manifest");
  UnsyncedFileLayer files;
  const std::string scratch = join_path(directory, "checkpoints");
  for (const int64_t step : {0, 200}) {
    const std::string path = save_checkpoint(files, scratch, make_snapshot(step), 0);
    const std::string text = read_file(join_path(path, "manifest.json"));
    seeds.add(text.substr(0, text.rfind(",\n \"manifest_crc32c\"")));
  }
  files.remove(scratch);
}

void write_runs(const std::string& directory) {
  Seeds seeds(directory, "run");
  SyntheticSpec spec;
  spec.steps = 4;
  spec.validation_every = 2;
  spec.num_experts = 3;
  for (const int num_layers : {0, 1, 2}) {
    spec.num_layers = num_layers;
    if (num_layers == 2) spec.sets = {"bible", "code"};
    Run run = synthetic_run(spec);
    run.directory = join_path(directory, "scratch");
    write_run(run);
    const Json summary = parse_json(read_file(join_path(run.directory, "summary.json")), "summary.json");
    seeds.add(dump_json(summary) + "\n" + read_file(join_path(run.directory, "metrics.jsonl")));
    std::filesystem::remove_all(run.directory);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_seeds DIRECTORY\n");
    return 1;
  }
  const std::string directory = argv[1];
  write_configs(directory);
  write_token_files(directory);
  write_megatron(directory);
  write_npy(directory);
  write_choice_tasks(directory);
  write_tokenizers(directory);
  write_safetensors(directory);
  write_manifests(directory);
  write_runs(directory);
  return 0;
}
