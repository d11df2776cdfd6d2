#pragma once

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "config/yaml.h"
#include "support/temporary_directory.h"
#include "util/files.h"
#include "util/json.h"

// A tiny model on data without meaning, for tests of whole runs.

namespace artel {

inline void write_small_tokens(const std::string& path, int count) {
  std::ofstream file(path, std::ios::binary);
  std::uint32_t state = 12345;
  for (int i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    file.put(static_cast<char>('a' + (state >> 16) % 8 + (i % 3)));
  }
}

inline void write_small_data(const TemporaryDirectory& directory) {
  write_small_tokens(directory.file("train.bin"), 12000);
  write_small_tokens(directory.file("val.bin"), 800);
}

/// The run "r" in `directory`, which holds train.bin and val.bin; 8 experts, 12 steps of 8 sequences of 16.
inline Config small_config(const std::string& directory, const std::string& routing, const std::string& precision,
                           const std::vector<std::string>& overrides = {}) {
  const std::string text =
      "run: {name: r, directory: " + directory +
      "}\n"
      "model: {vocab_size: 256, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, "
      "num_key_value_heads: 1, max_position_embeddings: 16, num_experts: 8, num_experts_per_tok: 2, "
      "moe_intermediate_size: 24, shared_expert_intermediate_size: 16, routing: {type: " +
      routing + "}}\ndata: {train: [{path: " + directory + "/train.bin}], validation: [{path: " + directory +
      "/val.bin}]}\n"
      "schedule: {type: cosine, warmup_steps: 3}\n"
      "train: {steps: 12, global_batch_size: 8, micro_batch_size: 8, threads: 1, precision: " +
      precision +
      "}\n"
      "validation: {every: 4, batches: 2, sample_tokens: 0}\n"
      "checkpoint: {every: 4, keep: 2}\n";
  return parse_config(text, "small.yaml", overrides);
}

/// The training losses in metrics.jsonl by step, the last attempt's at each.
inline std::map<std::int64_t, double> read_losses(const Config& config) {
  PosixFileLayer files;
  const std::string path = join_path(join_path(config.run.directory, config.run.name), "metrics.jsonl");
  std::map<std::int64_t, double> losses;
  std::istringstream lines(files.read(path));
  for (std::string line; std::getline(lines, line);) {
    const Json row = parse_json(line, path);
    if (row.contains("loss")) losses[row["step"].get<std::int64_t>()] = row["loss"].get<double>();
  }
  return losses;
}

}  // namespace artel
