#include <filesystem>
#include <set>

#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/snapshots.h"
#include "config/yaml.h"
#include "fuzz/fuzz.h"
#include "report/synthetic_runs.h"
#include "util/files.h"

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

std::string little_endian(const std::vector<uint32_t>& values, size_t width) {
  std::string bytes;
  for (const uint32_t value : values) {
    for (size_t i = 0; i < width; ++i) bytes += static_cast<char>(value >> (8 * i));
  }
  return bytes;
}

std::string with_header(uint32_t magic, uint32_t version, uint32_t num_tokens, const std::string& ids) {
  std::vector<uint32_t> header(256, 0);
  header[0] = magic;
  header[1] = version;
  header[2] = num_tokens;
  return little_endian(header, 4) + ids;
}

void write_token_files(const std::string& directory) {
  Seeds seeds(directory, "token_file");
  for (const char choice : {'\x00', '\x04', '\x05', '\x12', '\x1b', '\x84'}) {
    seeds.add(std::string(1, choice) + "some text that stands for tokens\n");
    seeds.add(std::string(1, choice) + with_header(20240520, 1, 3, little_endian({7, 50256, 9}, 2)));
    seeds.add(std::string(1, choice) + with_header(20240801, 7, 3, little_endian({7, 100000, 9}, 4)));
  }
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
  write_safetensors(directory);
  write_manifests(directory);
  write_runs(directory);
  return 0;
}
