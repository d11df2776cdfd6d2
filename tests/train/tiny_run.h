#pragma once
// A run of a tiny model on made-up tokens, for tests of training.

#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "config/yaml.h"
#include "support/temporary_directory.h"
#include "train/trainer.h"

namespace artel {

inline void write_tokens(const std::string& path, int count) {
  std::ofstream file(path, std::ios::binary);
  std::uint32_t state = 12345;
  for (int i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    file.put(static_cast<char>('a' + (state >> 16) % 8 + (i % 3)));
  }
}

/// Writes train.bin, 235 windows of the model's length and one token, and val.bin.
inline void prepare(const TemporaryDirectory& directory) {
  write_tokens(directory.file("train.bin"), 4000);
  write_tokens(directory.file("val.bin"), 400);
}

/// Run "r" in `directory`: 12 steps of 4 sequences of 16 tokens in two micro-batches.
inline Config config_of(const TemporaryDirectory& directory, const std::string& routing, const std::string& precision,
                        const std::vector<std::string>& overrides = {}) {
  const std::string text =
      "run: {name: r, directory: " + directory.path() +
      "}\n"
      "model: {vocab_size: 256, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, "
      "num_key_value_heads: 1, max_position_embeddings: 16, num_experts: 6, num_experts_per_tok: 2, "
      "moe_intermediate_size: 24, shared_expert_intermediate_size: 16, routing: {type: " +
      routing +
      "}}\n"
      "data: {train: [{path: " +
      directory.file("train.bin") + "}], validation: [{path: " + directory.file("val.bin") +
      "}]}\n"
      "schedule: {type: cosine, warmup_steps: 3}\n"
      "train: {steps: 12, global_batch_size: 4, micro_batch_size: 2, threads: 2, precision: " +
      precision +
      "}\n"
      "validation: {every: 4, batches: 2}\n"
      "checkpoint: {every: 4, keep: 2}\n";
  return parse_config(text, "test.yaml", overrides);
}

inline std::string run_file(const Config& config, const std::string& name) {
  return join_path(join_path(config.run.directory, config.run.name), name);
}

/// Every row of metrics.jsonl; a line that is no JSON is an error.
inline std::vector<Json> rows_of(const Config& config) {
  const std::string path = run_file(config, "metrics.jsonl");
  std::vector<Json> rows;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) rows.push_back(parse_json(line, path));
  return rows;
}

inline std::vector<Json> events_of(const Config& config, const std::string& event) {
  std::vector<Json> rows = rows_of(config);
  std::erase_if(rows, [&](const Json& row) { return !row.contains("event") || row["event"] != event; });
  return rows;
}

/// The last training row of every step, without what may differ between equal runs.
inline std::map<std::int64_t, Json> training_rows(const Config& config) {
  std::map<std::int64_t, Json> rows;
  for (Json& row : rows_of(config)) {
    if (!row.contains("loss")) continue;
    for (const char* key : {"seconds", "seconds_waited", "tokens_per_second", "mfu", "attempt"}) row.erase(key);
    rows[row["step"].get<std::int64_t>()] = row;
  }
  return rows;
}

/// The training loss of every step, the last attempt's at each.
inline std::map<std::int64_t, double> losses_of(const Config& config) {
  std::map<std::int64_t, double> losses;
  for (const auto& [step, row] : training_rows(config)) losses[step] = row["loss"].get<double>();
  return losses;
}

/// What a Trainer needs around it.
struct TinyTrainer {
  explicit TinyTrainer(const Config& config, const TrainOptions& options = {}, FileLayer* layer = nullptr)
      : log("", Screen::none),
        runtime(config.train, log),
        trainer(config, runtime, layer ? *layer : files, log, options) {}

  PosixFileLayer files;
  Log log;
  Runtime runtime;
  Trainer trainer;
};

/// Trains to the config's last step or to `last_step`; returns the training rows of all attempts.
inline std::map<std::int64_t, Json> train(const Config& config, std::int64_t last_step = 1 << 30,
                                          const TrainOptions& options = {}) {
  TinyTrainer tiny(config, options);
  tiny.trainer.run([&] { return tiny.trainer.step() >= last_step; });
  return training_rows(config);
}

inline std::vector<std::string> checkpoints_of(const Config& config) {
  PosixFileLayer files;
  return list_checkpoints(files, run_file(config, "checkpoints"));
}

/// The bytes of the newest checkpoint's tensors.
inline std::string checkpoint_tensors(const Config& config) {
  const std::string newest = checkpoints_of(config).at(0);
  return read_file(newest + "/model-00000.safetensors") + read_file(newest + "/optimizer-00000.safetensors");
}

}  // namespace artel
