#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "emulator/emulator.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "train/tiny_run.h"

// Training on a GPU whose figures the host reads late: what it waits for, and what becomes of steps that are refused
// before the host knows. On the emulated GPU alone, which counts waits.

namespace artel {
namespace {

/// The GPU does nothing until it is waited for: every wait that could be needed is.
class LazyStreams {
 public:
  LazyStreams() { emulator::config().streams = emulator::Streams::lazy; }
  ~LazyStreams() { emulator::config().streams = before_; }
  LazyStreams(const LazyStreams&) = delete;
  LazyStreams& operator=(const LazyStreams&) = delete;

 private:
  const emulator::Streams before_ = emulator::config().streams;
};

Config config_on(const std::string& device, const TemporaryDirectory& directory, const std::string& routing,
                 const std::string& precision, std::vector<std::string> overrides) {
  overrides.insert(overrides.end(), {"train.device=" + device, "run.name=" + device, "model.head_dim=32",
                                     "validation.every=0", "run.tensorboard=false"});
  return config_of(directory, routing, precision, overrides);
}

/// How often the host waits, and how often it asks in vain.
struct Waits {
  std::uint64_t waits;
  std::uint64_t vain_queries;

  bool operator==(const Waits&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Waits& waits) {
  return out << waits.waits << " waits, " << waits.vain_queries << " vain queries";
}

/// Of steps 2 to 4 of a run of 5: the first makes handles, the last is read at once.
std::vector<Waits> waits_of_steps(const Config& config, const TrainOptions& options) {
  std::vector<Waits> before;
  TinyTrainer tiny(config, options);
  tiny.trainer.run([&] {
    before.push_back({emulator::stats().host_waits, emulator::stats().vain_queries});
    return false;
  });
  REQUIRE(before.size() == 5);
  std::vector<Waits> waits;
  for (std::size_t i = 1; i + 1 < before.size(); ++i) {
    waits.push_back({before[i + 1].waits - before[i].waits, before[i + 1].vain_queries - before[i].vain_queries});
  }
  return waits;
}

TEST_CASE("A step on a GPU waits once in every MoE layer, for the experts' counts, and nowhere else") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const std::string recompute = GENERATE("none", "block");
  if (recompute == "block" && routing != "uoe") return;
  INFO(routing << ", recompute " << recompute);
  const LazyStreams lazy;
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config =
      config_on("cuda", directory, routing, "bf16",
                {"train.steps=5", "train.micro_batch_size=4", "checkpoint.every=0", "train.recompute=" + recompute});
  constexpr std::uint64_t num_layers = 2;
  // The wait asks once before it waits.
  CHECK(waits_of_steps(config, {}) == std::vector<Waits>(3, {num_layers, num_layers}));
  CHECK(training_rows(config).size() == 5);
}

TEST_CASE("A step whose figures are read at once waits more often") {
  const LazyStreams lazy;
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config =
      config_on("cuda", directory, "uoe", "bf16", {"train.steps=5", "train.micro_batch_size=4", "checkpoint.every=0"});
  TrainOptions options;
  options.late_figures = false;
  for (const Waits& waits : waits_of_steps(config, options)) CHECK(waits.waits > 2);
}

struct Fault {
  std::vector<Json> events;
  std::string error;
  std::string newest_checkpoint;
  std::vector<std::int64_t> steps;
};

/// Logits overflow from step 6 on.
Fault train_into_overflow(const Config& config) {
  Fault fault;
  {
    TinyTrainer tiny(config);
    Context& context = tiny.runtime.context();
    const Tensor values = tiny.trainer.model().parameters().values();
    std::vector<float> before(static_cast<std::size_t>(values.numel()));
    const auto poison = [&] {
      if (tiny.trainer.step() != 5) return false;
      for (const Parameter& parameter : tiny.trainer.model().parameters().parameters()) {
        if (parameter.name != "lm_head.weight") continue;
        std::vector<float> head(static_cast<std::size_t>(parameter.numel()));
        for (std::size_t i = 0; i < head.size(); ++i) head[i] = i % 2 == 0 ? 1.0e38F : -1.0e38F;
        context.backend.upload(head.data(), parameter.variable.data);
      }
      context.backend.download(values, before.data());
      return false;
    };
    fault.error = error_text([&] { tiny.trainer.run(poison); });
    std::vector<float> after(before.size());
    context.backend.download(values, after.data());
    CHECK(after == before);
  }
  fault.newest_checkpoint = checkpoints_of(config).at(0);
  fault.events = events_of(config, "non_finite_step");
  for (const Json& row : rows_of(config)) {
    if (row.contains("loss")) fault.steps.push_back(row["step"].get<std::int64_t>());
  }
  return fault;
}

TEST_CASE("A step that a GPU refuses changes nothing and is traced as on the CPU") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe");
  const TemporaryDirectory directory;
  prepare(directory);
  const auto run = [&](const std::string& device) {
    return train_into_overflow(config_on(device, directory, routing, "fp32", {"train.max_bad_steps=2"}));
  };
  const Fault on_cpu = run("cpu");
  const Fault on_gpu = run("cuda");
  REQUIRE(on_gpu.events.size() == 2);
  CHECK(on_gpu.events == on_cpu.events);
  CHECK(on_gpu.events[0]["step"] == 6);
  CHECK(on_gpu.events[0]["tensor"] == "logits");
  CHECK(on_gpu.events[0]["num_samples"] == 2);  // the first micro-batch
  CHECK(on_gpu.error == on_cpu.error);
  expect_contains(on_gpu.error, "found 2 steps in a row without, up to step 7: first in logits (forward) of sample ");
  CHECK(on_gpu.steps == on_cpu.steps);
  expect_contains(on_gpu.newest_checkpoint, "step-00000004");
}

}  // namespace
}  // namespace artel
