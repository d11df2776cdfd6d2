// What `describe` says of memory, against the peak of the allocator in a run.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>

#include "comm/thread_communicator.h"
#include "model/memory.h"
#include "support/catch.h"
#include "support/temporary_directory.h"
#include "train/tiny_run.h"
#include "train/trainer.h"

using namespace artel;

namespace {

struct Setting {
  std::string routing;
  int world = 1;
  int expert = 1;
  std::string recompute = "none";
  std::string precision = "fp32";
  std::string shape = "wide";  // wide: most memory is activations; deep: most is parameters. The backend's scratch,
                               // which is not estimated, is a small part of either
};

Config config_of(const TemporaryDirectory& directory, const Setting& setting) {
  const bool wide = setting.shape == "wide";
  return config_of(directory, setting.routing, setting.precision,
                   {"model.hidden_size=64", "model.num_experts=8", "model.max_position_embeddings=64",
                    std::string("model.moe_intermediate_size=") + (wide ? "64" : "256"), "model.num_hidden_layers=3",
                    "model.shared_expert_intermediate_size=42", "train.steps=2",
                    "train.global_batch_size=" + std::to_string((wide ? 16 : 1) * setting.world),
                    std::string("train.micro_batch_size=") + (wide ? "16" : "1"), "train.threads=1",
                    "train.recompute=" + setting.recompute, "parallel.expert=" + std::to_string(setting.expert),
                    "checkpoint.every=0", "validation.every=0", "run.tensorboard=false"});
}

// Tokens of all kinds, so that a router which has learned nothing spreads them over the experts.
void write_even_tokens(const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  std::uint32_t state = 1;
  for (int i = 0; i < 8000; ++i) {
    state = state * 1664525U + 1013904223U;
    file.put(static_cast<char>(state >> 24));
  }
}

// Tokens of three kinds, so that few experts get most of them.
void write_alike_tokens(const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  for (int i = 0; i < 8000; ++i) file.put(static_cast<char>('a' + i % 3));
}

// The peak of every rank's allocator.
std::vector<std::int64_t> peak_bytes(const Config& config, int num_ranks) {
  std::vector<std::int64_t> peaks(static_cast<std::size_t>(num_ranks));
  run_thread_ranks(num_ranks, {}, [&](Communicator& world) {
    PosixFileLayer files;
    Log log("", Screen::none);
    Runtime runtime(config.train, log, world);
    Trainer trainer(config, runtime, files, log, {});
    trainer.run();
    peaks[static_cast<std::size_t>(world.rank())] = runtime.context().allocator.stats().peak_bytes;
  });
  return peaks;
}

// Rows of each rank's experts over the mean of the ranks, mean of the layers, in the first step.
std::vector<double> loads(const Config& config, std::size_t num_ranks) {
  const Json layers = training_rows(config).at(1).at("moe");
  std::vector<double> sums(num_ranks, 0.0);
  for (const Json& layer : layers) {
    const auto counts = layer.at("load").get<std::vector<double>>();
    const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
    for (std::size_t expert = 0; expert < counts.size(); ++expert) {
      sums[expert * num_ranks / counts.size()] += counts[expert] / total * static_cast<double>(num_ranks);
    }
  }
  for (double& sum : sums) sum /= static_cast<double>(layers.size());
  return sums;
}

}  // namespace

TEST_CASE("The estimate of memory is within a tenth of the allocator's peak") {
  std::vector<Setting> settings;
  for (const char* routing : {"uoe", "softmax", "aoe"}) {
    for (const char* shape : {"wide", "deep"}) {
      settings.push_back({routing, 1, 1, "none", "fp32", shape});
      settings.push_back({routing, 1, 1, "block", "fp32", shape});
      settings.push_back({routing, 4, 4, "none", "fp32", shape});
      settings.push_back({routing, 2, 1, "none", "bf16", shape});
    }
    // Not "wide": with one layer at a time each rank's peak is that of its fullest layer, not of a mean one.
    settings.push_back({routing, 4, 4, "block", "fp32", "deep"});
  }
  for (const Setting& setting : settings) {
    INFO(setting.routing << ", world " << setting.world << ", expert " << setting.expert << ", recompute "
                         << setting.recompute << ", " << setting.precision << ", " << setting.shape);
    const TemporaryDirectory directory;
    write_even_tokens(directory.file("train.bin"));
    write_even_tokens(directory.file("val.bin"));
    const Config config = config_of(directory, setting);
    const auto estimate = static_cast<double>(memory_bytes_per_rank(config, {.world = setting.world}).tensors());
    // The mean over the ranks: an untrained router fills one rank at the cost of another.
    const std::vector<std::int64_t> peaks = peak_bytes(config, setting.world);
    const double measured = std::accumulate(peaks.begin(), peaks.end(), 0.0) / setting.world;
    CAPTURE(estimate, measured, estimate / measured);
    CHECK(std::abs(estimate / measured - 1.0) <= 0.1);
  }
}

TEST_CASE("The estimate with the load of the fullest rank is within a tenth of that rank's peak") {
  for (const char* routing : {"uoe", "softmax", "aoe"}) {
    const TemporaryDirectory directory;
    write_alike_tokens(directory.file("train.bin"));
    write_alike_tokens(directory.file("val.bin"));
    const Config config = config_of(directory, {routing, 4, 4});
    const std::vector<std::int64_t> peaks = peak_bytes(config, 4);
    const std::vector<double> load = loads(config, 4);
    const auto fullest = static_cast<std::size_t>(std::max_element(load.begin(), load.end()) - load.begin());
    CAPTURE(routing, load, peaks);
    REQUIRE(load[fullest] > 1.3);
    const auto estimate =
        static_cast<double>(memory_bytes_per_rank(config, {.world = 4, .max_load = load[fullest]}).tensors());
    CHECK(std::abs(estimate / static_cast<double>(peaks[fullest]) - 1.0) <= 0.1);
  }
}
