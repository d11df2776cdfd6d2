// What several ranks have to keep together: checkpoints over layouts, copies of parameters, volumes, a stop.

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "checkpoint/store.h"
#include "comm/thread_communicator.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "train/tiny_run.h"
#include "util/error.h"

using namespace artel;

namespace {

struct Ranks {
  int world = 1;
  int expert = 1;
};

Config ranks_config(const TemporaryDirectory& directory, const std::string& routing, Ranks ranks,
                    const std::vector<std::string>& more = {}) {
  std::vector<std::string> overrides = {"model.num_experts=8",
                                        "train.global_batch_size=8",
                                        "train.threads=1",
                                        "train.micro_batch_size=" + std::to_string(8 / ranks.world),
                                        "model.router_aux_loss_scope=sequence",
                                        "parallel.expert=" + std::to_string(ranks.expert),
                                        "run.tensorboard=false",
                                        "parallel.verify_every=1"};
  overrides.insert(overrides.end(), more.begin(), more.end());
  return config_of(directory, routing, "fp32", overrides);
}

using Visit = std::function<void(Trainer&, Communicator&)>;

// Trains on ranks that are threads, to `last_step` or the config's; `before` looks at each rank's trainer first.
void train_ranks(const Config& config, int world_size, std::int64_t last_step = 1 << 30, const Visit& before = {}) {
  run_thread_ranks(world_size, {}, [&](Communicator& world) {
    PosixFileLayer files;
    Log log("", Screen::none);
    Runtime runtime(config.train, log, world);
    Trainer trainer(config, runtime, files, log, {});
    if (before) before(trainer, world);
    trainer.run([&] { return trainer.step() >= last_step; });
  });
}

std::string checkpoint_path(const Config& config, std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08d", static_cast<int>(step));
  return join_path(join_path(config.run.directory, config.run.name), std::string("checkpoints/") + name);
}

// Every tensor of a checkpoint, whole.
std::map<std::string, std::string> tensors_of(const std::string& path) {
  PosixFileLayer files;
  const Checkpoint checkpoint(files, path);
  std::map<std::string, std::string> tensors;
  for (const auto& [name, info] : checkpoint.tensors()) {
    Shape begin;
    for (int i = 0; i < info.shape.rank(); ++i) begin.push_back(0);
    std::string bytes(static_cast<std::size_t>(info.shape.numel()) * dtype_size(info.dtype), '\0');
    checkpoint.read(name, begin, info.shape, bytes.data());
    tensors[name] = std::move(bytes);
  }
  return tensors;
}

}  // namespace

TEST_CASE("A checkpoint of four ranks goes on under any layout, and its tensors are the same there") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const TemporaryDirectory whole;
  prepare(whole);
  train_ranks(ranks_config(whole, routing, {4, 4}), 4);
  const std::map<std::int64_t, double> expected = losses_of(ranks_config(whole, routing, {4, 4}));
  REQUIRE(expected.size() == 12);

  for (const Ranks ranks : {Ranks{1, 1}, Ranks{2, 2}, Ranks{2, 1}, Ranks{4, 2}}) {
    INFO(routing << ", to world " << ranks.world << ", expert " << ranks.expert);
    const TemporaryDirectory parts;
    prepare(parts);
    train_ranks(ranks_config(parts, routing, {4, 4}), 4, 8);
    const std::string path = checkpoint_path(ranks_config(parts, routing, {4, 4}), 8);
    const auto saved = tensors_of(path);

    // Loaded and saved again without a step in between.
    const TemporaryDirectory again;
    const Config resharded = ranks_config(parts, routing, ranks, {"run.directory=" + again.path()});
    std::atomic<int> num_complete{0};
    run_thread_ranks(ranks.world, {}, [&](Communicator& world) {
      PosixFileLayer files;
      Log log("", Screen::none);
      Runtime runtime(resharded.train, log, world);
      TrainOptions options;
      options.resume = path;
      Trainer trainer(resharded, runtime, files, log, options);
      if (trainer.run([] { return true; })) ++num_complete;
    });
    CHECK(num_complete == 0);
    CHECK(tensors_of(checkpoint_path(resharded, 8)) == saved);

    train_ranks(ranks_config(parts, routing, ranks), ranks.world);
    const std::map<std::int64_t, double> actual = losses_of(ranks_config(parts, routing, ranks));
    REQUIRE(actual.size() == expected.size());
    for (const auto& [step, loss] : expected) {
      INFO("step " << step);
      CHECK(std::abs(actual.at(step) - loss) <= 1.0e-5 * loss);
    }
  }
}

TEST_CASE("Resuming on the same layout has the bits of a run without a break") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const TemporaryDirectory whole;
  const TemporaryDirectory parts;
  prepare(whole);
  prepare(parts);
  train_ranks(ranks_config(whole, routing, {4, 2}), 4);
  train_ranks(ranks_config(parts, routing, {4, 2}), 4, 7);
  train_ranks(ranks_config(parts, routing, {4, 2}), 4);
  CHECK(losses_of(ranks_config(parts, routing, {4, 2})) == losses_of(ranks_config(whole, routing, {4, 2})));
  CHECK(tensors_of(checkpoint_path(ranks_config(parts, routing, {4, 2}), 12)) ==
        tensors_of(checkpoint_path(ranks_config(whole, routing, {4, 2}), 12)));
}

TEST_CASE("Ranks that read their figures late have the rows and the bits of ranks that read them at once") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe");
  const auto run = [&](bool late) {
    const TemporaryDirectory directory;
    prepare(directory);
    Config config = ranks_config(directory, routing, {4, 2}, {"checkpoint.every=0", "validation.every=5"});
    config.parallel.verify_every = 0;
    run_thread_ranks(4, {}, [&](Communicator& world) {
      PosixFileLayer files;
      Log log("", Screen::none);
      Runtime runtime(config.train, log, world);
      TrainOptions options;
      options.late_figures = late;
      Trainer trainer(config, runtime, files, log, options);
      GradientSlot* slot = trainer.model().parameters().parameters().front().variable.slot.get();
      int calls = 0;
      const auto send = slot->on_complete;
      slot->on_complete = [&, slot] {
        if (++calls == 3 && world.rank() == 2) slot->gradient.data<float>()[0] = std::nanf("");
        send();
      };
      trainer.run();
    });
    std::vector<Json> rows = rows_of(config);
    const Json refused = events_of(config, "non_finite_step").at(0)["step"];
    for (Json& row : rows) {
      for (const char* key : {"seconds", "seconds_waited", "tokens_per_second"}) row.erase(key);
      if (!late || !row.contains("bytes_sent")) continue;
      // Ranks that do not know yet that a step was refused bring each other the old values.
      if (row["step"] == refused) row["bytes_sent"].erase("parameters");
      // The loss travels with the norm: rank 0 sends one double more.
      row["bytes_sent"]["gradients"] = row["bytes_sent"]["gradients"].get<std::int64_t>() - 8;
    }
    return std::pair(rows, tensors_of(checkpoint_path(config, 12)));
  };
  const auto [early_rows, early_tensors] = run(false);
  const auto [late_rows, late_tensors] = run(true);
  REQUIRE(early_rows.size() == 12 + 1 + 4);
  CHECK(late_rows == early_rows);
  CHECK((late_tensors == early_tensors));
}

TEST_CASE("A copy of a parameter that has drifted ends the run and is named") {
  const TemporaryDirectory directory;
  prepare(directory);
  const auto [parameter, group] =
      GENERATE(table<std::string, std::string>({{"model.norm.weight", "dense parameters on the ranks of group world"},
                                                {"mlp.experts", "experts on the ranks"}}));
  const Visit disturb = [name = parameter](Trainer& trainer, Communicator& world) {
    if (world.rank() != 3) return;
    for (const Parameter& p : trainer.model().parameters().parameters()) {
      if (p.name.find(name) == std::string::npos) continue;
      // An element that another rank updates, so that the next step does not bring the ranks together again.
      p.variable.data.data<float>()[p.numel() - 1] += 0.25F;
      p.variable.data.data<float>()[0] += 0.25F;
      return;
    }
  };
  const Config config = ranks_config(directory, "uoe", {4, 2}, {"parallel.zero_stage=0"});
  const std::string error = error_text([&] { train_ranks(config, 4, 1 << 30, disturb); });
  INFO(error);
  CHECK(error.find("[replicas] required equal " + group) != std::string::npos);
  CHECK(error.find("after step 1") != std::string::npos);
}

TEST_CASE("A stop that one rank alone is asked for stops all of them at the same step") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = ranks_config(directory, "uoe", {4, 2});
  std::atomic<int> steps{0};
  std::atomic<int> num_complete{0};
  run_thread_ranks(4, {}, [&](Communicator& world) {
    PosixFileLayer files;
    Log log("", Screen::none);
    Runtime runtime(config.train, log, world);
    Trainer trainer(config, runtime, files, log, {});
    if (trainer.run([&] { return world.rank() == 2 && trainer.step() == 5; })) ++num_complete;
    steps += static_cast<int>(trainer.step());
  });
  CHECK(num_complete == 0);
  CHECK(steps == 4 * 5);
  PosixFileLayer files;
  const Json world = Checkpoint(files, checkpoint_path(config, 5)).manifest()["world"];
  CHECK(world["size"] == 4);
  CHECK(world["expert"] == 2);
}

TEST_CASE("The bytes that a step sends for gradients and parameters are those of the formulas") {
  const TemporaryDirectory directory;
  prepare(directory);
  const auto zero_stage = GENERATE(0, 1);
  const Config config =
      ranks_config(directory, "softmax", {4, 2}, {"parallel.zero_stage=" + std::to_string(zero_stage)});
  std::int64_t gradients = 0;
  std::int64_t parameters = 0;
  train_ranks(config, 4, 3, [&](Trainer& trainer, Communicator& world) {
    if (world.rank() != 0) return;
    for (const GradientBucket& bucket : trainer.buckets()) {
      const auto num_ranks = static_cast<std::int64_t>(bucket.cuts.size()) - 1;
      const std::int64_t all = bucket.end() - bucket.begin();
      const std::int64_t own = bucket.cuts[1] - bucket.cuts[0];
      if (zero_stage == 0) gradients += (all + (num_ranks - 2) * even_shares(all, static_cast<int>(num_ranks))[0]) * 4;
      if (zero_stage == 1) gradients += (all - own) * 4;
      if (zero_stage == 1) parameters += (num_ranks - 1) * own * 4;
    }
  });
  gradients += (1 + 2 * 1) * 8;  // the norm: all_reduce of one double, whose piece is rank 0's
  std::ifstream rows(join_path(directory.path(), "r/metrics.jsonl"));
  int num_rows = 0;
  double waited = 0.0;
  double seconds = 0.0;
  for (std::string line; std::getline(rows, line);) {
    const Json row = parse_json(line, "metrics");
    if (!row.contains("loss")) continue;
    ++num_rows;
    for (const auto& [purpose, value] : row["seconds_waited"].items()) waited += value.get<double>();
    seconds = row["seconds"].get<double>();
    CHECK(row["bytes_sent"]["gradients"] == gradients);
    CHECK(row["bytes_sent"].value("parameters", std::int64_t{0}) == parameters);
    CHECK(row["bytes_sent"]["dispatch"].get<std::int64_t>() > 0);
  }
  CHECK(num_rows == 3);
  CHECK(waited > 0.0);
  CHECK(waited < seconds);
}

TEST_CASE("Numbers that are not finite on one rank are traced by all, and end the run with their origin") {
  const TemporaryDirectory directory;
  prepare(directory);
  struct Poison {
    std::string name;
    float value;
    std::string origin;
  };
  const Poison p = GENERATE(Poison{"mlp.experts", std::nanf(""), "experts.4."},
                            Poison{"lm_head.weight", std::numeric_limits<float>::infinity(), "lm_head.weight"});
  const Visit poison = [p](Trainer& trainer, Communicator& world) {
    if (world.rank() != 3) return;
    for (const Parameter& parameter : trainer.model().parameters().parameters()) {
      if (parameter.name.find(p.name) == std::string::npos) continue;
      parameter.variable.data.data<float>()[1] = p.value;
      return;
    }
  };
  Config config = ranks_config(directory, "uoe", {4, 2}, {"train.max_bad_steps=1"});
  config.parallel.verify_every = 0;
  const std::string error = error_text([&] { train_ranks(config, 4, 1 << 30, poison); });
  INFO(error);
  CHECK(error.find("required finite numbers, found 1 steps in a row") != std::string::npos);
  CHECK(error.find(p.origin) != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(checkpoint_path(config, 1)));
}

TEST_CASE("A disk that is full for one rank costs all of them one checkpoint and nothing else") {
  // Fails where rank 2 writes its share of step 4.
  class FullDisk final : public PosixFileLayer {
   public:
    OutputFile open_write(const std::string& path) override {
      if (path.find("step-00000004/model-00002") != std::string::npos) fail("files", "no space left for " + path);
      return PosixFileLayer::open_write(path);
    }
  };
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = ranks_config(directory, "uoe", {4, 2});
  std::atomic<int> num_complete{0};
  run_thread_ranks(4, {}, [&](Communicator& world) {
    FullDisk files;
    Log log("", Screen::none);
    Runtime runtime(config.train, log, world);
    Trainer trainer(config, runtime, files, log, {});
    if (trainer.run()) ++num_complete;
  });
  CHECK(num_complete == 4);
  PosixFileLayer files;
  CHECK_FALSE(files.exists(checkpoint_path(config, 4)));
  CHECK(Checkpoint(files, checkpoint_path(config, 8)).step() == 8);
  CHECK(Checkpoint(files, checkpoint_path(config, 12)).step() == 12);
  std::ifstream rows(join_path(directory.path(), "r/metrics.jsonl"));
  int num_events = 0;
  for (std::string line; std::getline(rows, line);) {
    const Json row = parse_json(line, "metrics");
    if (row.value("event", "") != "checkpoint_failed") continue;
    ++num_events;
    CHECK(row["error"].get<std::string>().find("no space left for ") != std::string::npos);
    CHECK(row["error"].get<std::string>().find("(rank 2)") != std::string::npos);
  }
  CHECK(num_events == 1);
  CHECK(losses_of(config).size() == 12);
}
