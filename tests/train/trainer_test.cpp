#include "train/trainer.h"

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "config/yaml.h"
#include "kernels/cpu/cpu_backend.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/golden.h"
#include "support/temporary_directory.h"

using namespace artel;

namespace {

void write_tokens(const std::string& path, int count) {
  std::ofstream file(path, std::ios::binary);
  std::uint32_t state = 12345;
  for (int i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    file.put(static_cast<char>('a' + (state >> 16) % 8 + (i % 3)));
  }
}

Config config_of(const TemporaryDirectory& directory, const std::string& routing, const std::string& precision,
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

// Trains to the config's last step or to `last_step`; returns the training losses by step of the last attempt at each.
std::map<std::int64_t, double> train(const Config& config, std::int64_t last_step = 1 << 30,
                                     const TrainOptions& options = {}) {
  PosixFileLayer files;
  Log log("", true);
  Runtime runtime(config.train, log);
  Trainer trainer(config, runtime, files, log, options);
  trainer.run([&] { return trainer.step() >= last_step; });
  const std::string path = join_path(join_path(config.run.directory, config.run.name), "metrics.jsonl");
  std::map<std::int64_t, double> losses;
  std::istringstream lines(files.read(path));
  for (std::string line; std::getline(lines, line);) {
    const Json row = parse_json(line, path);
    if (row.contains("loss")) losses[row["step"].get<std::int64_t>()] = row["loss"].get<double>();
  }
  return losses;
}

std::string checkpoint_tensors(const Config& config) {
  PosixFileLayer files;
  const std::string directory = join_path(join_path(config.run.directory, config.run.name), "checkpoints");
  const std::string newest = list_checkpoints(files, directory).at(0);
  return files.read(newest + "/model-00000.safetensors") + files.read(newest + "/optimizer-00000.safetensors");
}

void prepare(const TemporaryDirectory& directory) {
  write_tokens(directory.file("train.bin"), 4000);
  write_tokens(directory.file("val.bin"), 400);
}

}  // namespace

TEST_CASE("A run that was interrupted and resumed ends with the bits of one that was not") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const auto precision = GENERATE(as<std::string>{}, "fp32", "bf16");
  INFO(routing << " " << precision);
  const TemporaryDirectory whole;
  const TemporaryDirectory parts;
  prepare(whole);
  prepare(parts);
  const auto expected = train(config_of(whole, routing, precision));
  REQUIRE(expected.size() == 12);
  const Config config = config_of(parts, routing, precision);
  train(config, 7);
  SECTION("stopped by a signal, which saved step 7") {}
  SECTION("killed after step 7: steps 5 to 7 are done again") {
    PosixFileLayer files;
    files.remove(join_path(parts.path(), "r/checkpoints/step-00000007"));
  }
  const auto actual = train(config);
  CHECK(actual == expected);
  CHECK(checkpoint_tensors(config) == checkpoint_tensors(config_of(whole, routing, precision)));
}

TEST_CASE("Validation rows hold every set, and training rows what the experts got") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "uoe", "fp32");
  train(config);
  std::ifstream file(directory.file("r/metrics.jsonl"));
  int training_rows = 0;
  int validation_rows = 0;
  for (std::string line; std::getline(file, line);) {
    const Json row = parse_json(line, "metrics");
    CHECK(row["attempt"] == 1);
    if (row.contains("val_loss")) {
      ++validation_rows;
      CHECK(row["sets"]["val"] == row["val_loss"]);
      CHECK(std::isfinite(row["val_loss"].get<double>()));
    } else {
      ++training_rows;
      CHECK(row["tokens"] == row["step"].get<std::int64_t>() * 64);
      REQUIRE(row["moe"].size() == 2);
      CHECK(row["moe"][0]["entropy"].get<double>() <= 1.0);
      CHECK(row["aux_loss"].get<double>() > 0.9);
      CHECK(row["tokens_per_second"].get<double>() > 0.0);
      CHECK(row["grad_norm"].get<double>() > 0.0);
    }
  }
  CHECK(training_rows == 12);
  CHECK(validation_rows == 4);  // steps 0, 4, 8, 12
  PosixFileLayer files;
  CHECK(list_checkpoints(files, directory.file("r/checkpoints")).size() == 2);
  CHECK(files.read(directory.file("r/checkpoints/latest")) == "step-00000012\n");
  CHECK(parse_json(files.read(directory.file("r/summary.json")), "summary")["routing"] == "uoe");
  // The resolved config loads back and trains on.
  CHECK(load_config(directory.file("r/config.yaml")).model.routing.uoe.routing_neurons == 4);
}

TEST_CASE("Resuming refuses another model, allows what it should, and never overwrites a run unasked") {
  const TemporaryDirectory directory;
  prepare(directory);
  train(config_of(directory, "uoe", "fp32"), 4);
  expect_contains(error_text([&] { train(config_of(directory, "uoe", "fp32", {"model.hidden_size=64"})); }),
                  "model.hidden_size");
  expect_contains(error_text([&] { train(config_of(directory, "softmax", "fp32")); }), "model.routing.type");
  expect_contains(error_text([&] { train(config_of(directory, "uoe", "fp32", {"run.seed=2"})); }), "run.seed");
  expect_contains(error_text([&] { train(config_of(directory, "uoe", "fp32", {"optimizer.lr=0.5"})); }),
                  "optimizer.lr");
  TrainOptions never;
  never.resume = "never";
  expect_contains(error_text([&] { train(config_of(directory, "uoe", "fp32"), 12, never); }), "--resume never");
  TrainOptions allowed;
  allowed.allow_changes = {"optimizer.lr"};
  const auto losses = train(config_of(directory, "uoe", "fp32", {"optimizer.lr=0.002", "train.steps=6"}), 6, allowed);
  CHECK(losses.size() == 6);
}

TEST_CASE("A damaged newest checkpoint is passed over, and with all damaged nothing is started anew") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "uoe", "fp32");
  train(config, 8);
  const auto damage = [&](const std::string& step) {
    const std::string path = directory.file("r/checkpoints/" + step + "/model-00000.safetensors");
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-5, std::ios::end);
    file.put('\x55');
  };
  damage("step-00000008");
  PosixFileLayer files;
  Log log("", true);
  Runtime runtime(config.train, log);
  CHECK(Trainer(config, runtime, files, log, {}).step() == 4);
  damage("step-00000004");
  expect_contains(error_text([&] { Trainer(config, runtime, files, log, {}); }), "all damaged");
}

TEST_CASE("Ten training steps of a UoE model equal PyTorch's") {
  const Golden golden("uoe_default");
  const std::string path = std::string(ARTEL_SOURCE_DIR) + "/tests/golden/train10_uoe.json";
  const Json expected = parse_json(read_file(path), path);
  const Config config = golden.config();
  HostAllocator allocator;
  ThreadPool pool(2, cpu::Gemm::prepare_thread);
  CpuBackend backend(pool, allocator);
  Context context{allocator, backend, pool};
  const auto world = make_self_communicator();
  Transformer model(config.model, *world);
  model.allocate(context, DType::f32);
  golden.load_weights(context, model.parameters());
  OptimizerConfig options;
  AdamW optimizer(context, model.parameters(), options);
  Batch batch;
  batch.num_samples = golden.at("tokens").shape[0];
  batch.seq_len = golden.at("tokens").shape[1];
  for (const double id : golden.at("tokens").values) batch.inputs.push_back(static_cast<std::int32_t>(id));
  for (const double id : golden.at("targets").values) batch.targets.push_back(static_cast<std::int32_t>(id));
  for (int step = 1; step <= 10; ++step) {
    const auto tokens = static_cast<std::int64_t>(batch.inputs.size());
    const StepOutcome outcome =
        run_step(context, model, optimizer, batch, {step, batch.num_samples, tokens, 1e-2, false});
    // PyTorch in fp32 drifts 2.6e-5 from these float64 losses; we may drift as far to the other side, and a little.
    CHECK(outcome.loss == Approx(expected["loss"][step - 1].get<double>()).epsilon(0.0).margin(6.0e-5));
    CHECK(outcome.aux_loss == Approx(expected["aux_loss"][step - 1].get<double>()).epsilon(1.0e-3));
  }
}
