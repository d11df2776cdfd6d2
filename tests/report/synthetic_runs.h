#pragma once
// Made-up runs with known final losses, in memory and as directories.

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "report/run_reader.h"
#include "support/temporary_directory.h"
#include "util/json.h"
#include "util/text.h"

namespace artel {

struct SyntheticSpec {
  std::string name = "uoe";
  std::string routing = "uoe";
  int64_t seed = 1;
  double final_loss = 1.8;        ///< before noise
  double loss_noise = 0.0;        ///< of the whole run, drawn from the seed and the name
  double step_noise = 0.02;       ///< of each training row
  double validation_noise = 0.0;  ///< of each validation row
  double flops_per_token = 6e6;
  double tokens_per_second = 20000.0;
  int64_t steps = 60;
  int64_t tokens_per_step = 4096;
  int64_t validation_every = 10;
  int num_layers = 2;
  int num_experts = 8;
  double imbalance = 0.5;
  bool with_load = true;
  std::vector<std::string> sets = {};
};

inline double synthetic_loss(const SyntheticSpec& spec, double step) {
  const double progress = (step + 4.0) / static_cast<double>(spec.steps + 4);
  return spec.final_loss + 0.55 * (std::pow(progress, -0.45) - 1.0);
}

inline LayerRouting synthetic_layer(const SyntheticSpec& spec, int layer, double progress, std::mt19937_64& generator) {
  std::normal_distribution<double> noise(0.0, 1.0);
  std::mt19937_64 taste(static_cast<uint64_t>(spec.seed * 100 + layer));
  LayerRouting row;
  row.layer = layer;
  double total = 0.0;
  double largest = 0.0;
  std::vector<double> loads;
  for (int expert = 0; expert < spec.num_experts; ++expert) {
    const double lasting = noise(taste) * spec.imbalance * (0.25 + std::exp(-6.0 * progress));
    loads.push_back(1000.0 * std::exp(lasting + 0.06 * noise(generator)));
    if (expert == 3 && progress < 0.2 && spec.imbalance > 0.8) loads.back() = 0.0;
    total += loads.back();
    largest = std::max(largest, loads.back());
  }
  for (const double load : loads) {
    if (load == 0.0) row.dead_experts += 1.0;
    if (load > 0.0) row.entropy -= load / total * std::log(load / total);
    if (spec.with_load) row.load.push_back(static_cast<float>(std::round(load)));
  }
  if (spec.num_experts > 1) row.entropy /= std::log(spec.num_experts);
  row.max_violation = largest * spec.num_experts / total - 1.0;
  row.choice_entropy = 0.95 - 0.4 * progress - 0.01 * layer;
  row.margin = 0.05 + 0.1 * progress + 0.01 * layer;
  return row;
}

inline Json synthetic_config(const SyntheticSpec& spec) {
  Json config;
  config["run"] = {{"name", spec.name}, {"directory", "runs"}, {"seed", spec.seed}};
  config["model"] = {{"vocab_size", 256}, {"hidden_size", 256}, {"num_hidden_layers", spec.num_layers}};
  config["model"]["num_experts"] = spec.num_experts;
  config["model"]["routing"] = {{"type", spec.routing},
                                {"uoe", {{"routing_neurons", 18}, {"routing_norm", "l2"}}},
                                {"aoe", {{"d_low", 85}, {"expert_width", 200}}}};
  config["data"] = {{"train", Json::array({{{"path", "train.bin"}, {"weight", 1.0}}})}, {"tokenizer", "bytes"}};
  config["optimizer"] = {{"lr", 1e-3}, {"betas", {0.9, 0.95}}};
  config["train"] = {{"steps", spec.steps}, {"threads", 2}};
  return config;
}

inline Run synthetic_run(const SyntheticSpec& spec) {
  std::mt19937_64 generator(std::hash<std::string>{}(spec.name) ^ static_cast<uint64_t>(spec.seed * 7919));
  std::normal_distribution<double> noise(0.0, 1.0);
  const double offset = spec.loss_noise * noise(generator);
  Run run;
  run.directory = concat("runs/", spec.name, "-seed", spec.seed);
  run.name = spec.name;
  run.routing = spec.routing;
  run.seed = spec.seed;
  run.total_parameters = 12345678;
  run.active_parameters = 3456789;
  run.parameters = {{"total", 12345678}, {"active", 3456789}, {"embedding", 65536}};
  run.flops_per_token = spec.flops_per_token;
  run.flops_by_part = {{"total", spec.flops_per_token}, {"attention", 0.4 * spec.flops_per_token}};
  run.device = "cpu";
  run.precision = "bf16";
  run.threads = 2;
  run.num_attempts = 1;
  run.config = synthetic_config(spec);
  for (int64_t step = 1; step <= spec.steps; ++step) {
    const double progress = static_cast<double>(step) / static_cast<double>(spec.steps);
    TrainingRow row;
    row.step = step;
    row.attempt = 1;
    row.tokens = step * spec.tokens_per_step;
    row.loss = synthetic_loss(spec, static_cast<double>(step)) + offset + spec.step_noise * noise(generator);
    row.lr = 1e-3 * (1.0 - 0.9 * progress);
    row.grad_norm = 1.0;
    row.aux_loss = 0.01;
    row.tokens_per_second = spec.tokens_per_second * (1.0 + 0.02 * noise(generator));
    row.seconds = static_cast<double>(row.tokens) / spec.tokens_per_second;
    for (int layer = 0; layer < spec.num_layers; ++layer) {
      row.moe.push_back(synthetic_layer(spec, layer, progress, generator));
    }
    run.training.push_back(row);
    if (step % spec.validation_every != 0) continue;
    ValidationRow validation;
    validation.step = step;
    validation.tokens = row.tokens;
    validation.attempt = 1;
    validation.seconds = row.seconds;
    validation.val_loss =
        synthetic_loss(spec, static_cast<double>(step)) + offset + spec.validation_noise * noise(generator);
    for (size_t set = 0; set < spec.sets.size(); ++set) {
      const double level = 0.3 * (static_cast<double>(set) - 1.0);
      validation.sets.emplace_back(spec.sets[set],
                                   validation.val_loss + level + 0.3 * spec.loss_noise * noise(generator));
      std::mt19937_64 taste(static_cast<uint64_t>(spec.seed * 1000) + set);
      SetExpertCounts counts{spec.sets[set], {}};
      for (int layer = 0; layer < spec.num_layers; ++layer) {
        counts.counts.emplace_back();
        for (int i = 0; i < spec.num_experts; ++i) {
          counts.counts.back().push_back(std::round(100.0 * std::exp(0.7 * noise(taste))));
        }
      }
      if (spec.num_layers > 0) validation.expert_counts.push_back(std::move(counts));
    }
    run.validation.push_back(validation);
  }
  return run;
}

inline Json training_json(const TrainingRow& row) {
  Json json = {{"step", row.step},
               {"tokens", row.tokens},
               {"loss", row.loss},
               {"lr", row.lr},
               {"grad_norm", row.grad_norm},
               {"aux_loss", row.aux_loss},
               {"tokens_per_second", row.tokens_per_second},
               {"seconds", row.seconds},
               {"attempt", row.attempt}};
  json["moe"] = Json::array();
  for (const LayerRouting& layer : row.moe) {
    json["moe"].push_back({{"layer", layer.layer},
                           {"max_violation", layer.max_violation},
                           {"entropy", layer.entropy},
                           {"dead_experts", layer.dead_experts},
                           {"choice_entropy", layer.choice_entropy},
                           {"margin", layer.margin}});
    if (!layer.load.empty()) json["moe"].back()["load"] = layer.load;
  }
  return json;
}

inline Json validation_json(const ValidationRow& row) {
  Json json = {{"step", row.step}, {"tokens", row.tokens}, {"val_loss", row.val_loss}, {"attempt", row.attempt}};
  for (const auto& set : row.sets) json["sets"][set.first] = set.second;
  for (const auto& score : row.scores) {
    const size_t comma = score.first.find(", ");
    const std::string head = score.first.substr(0, comma), tail = score.first.substr(comma + 2);
    if (head == "bits per byte") {
      json["bits_per_byte"][tail] = score.second;
    } else {
      json["tasks"][head][tail == "accuracy" ? tail : "accuracy_per_" + tail.substr(13)] = score.second;
    }
  }
  for (const SetExpertCounts& set : row.expert_counts) json["expert_counts"][set.set] = set.counts;
  return json;
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

/// Writes `run` as the trainer would, into run.directory.
inline void write_run(const Run& run) {
  const std::filesystem::path directory = run.directory;
  const Json summary = {{"name", run.name},
                        {"routing", run.routing},
                        {"parameters", run.parameters},
                        {"flops_per_token", run.flops_by_part},
                        {"seed", run.seed},
                        {"config", run.config},
                        {"device", run.device},
                        {"precision", run.precision},
                        {"threads", run.threads}};
  write_text(directory / "summary.json", dump_json(summary, 2));
  std::string rows = dump_json({{"event", "start"}, {"attempt", 1}}) + "\n";
  size_t next = 0;
  for (const TrainingRow& row : run.training) {
    rows += dump_json(training_json(row)) + "\n";
    for (; next < run.validation.size() && run.validation[next].step <= row.step; ++next) {
      rows += dump_json(validation_json(run.validation[next])) + "\n";
    }
  }
  write_text(directory / "metrics.jsonl", rows);
}

}  // namespace artel
