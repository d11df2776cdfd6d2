#include "train/trainer.h"

#include <cmath>
#include <fstream>

#include "config/yaml.h"
#include "kernels/cpu/cpu_backend.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/golden.h"
#include "support/temporary_directory.h"
#include "train/tiny_run.h"

using namespace artel;

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

TEST_CASE("A run whose figures are read late has the rows and the bits of one that reads them at once") {
  const auto routing = GENERATE(as<std::string>{}, "softmax", "uoe", "aoe");
  const TemporaryDirectory directory;
  prepare(directory);
  const auto run = [&](const std::string& name, bool late) {
    const Config config =
        config_of(directory, routing, "bf16", {"run.name=" + name, "validation.every=5", "checkpoint.every=7"});
    TrainOptions options;
    options.late_figures = late;
    TinyTrainer tiny(config, options);
    // A gradient that is bad for once, at step 3, in the middle of steps that are not waited for.
    GradientSlot* slot = tiny.trainer.model().parameters().parameters().back().variable.slot.get();
    int calls = 0;
    slot->on_complete = [&, slot] {
      if (++calls == 6) slot->gradient.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
    };
    CHECK_FALSE(tiny.trainer.run([&] { return tiny.trainer.step() == 9; }));
    std::vector<Json> rows = rows_of(config);
    for (Json& row : rows) {
      for (const char* key : {"seconds", "seconds_waited", "tokens_per_second"}) row.erase(key);
    }
    return std::pair(rows, checkpoint_tensors(config));
  };
  const auto [early_rows, early_tensors] = run("early", false);
  const auto [late_rows, late_tensors] = run("late", true);
  REQUIRE(early_rows.size() == 9 + 1 + 2);  // steps, one event, validation before the first and after the fifth
  CHECK(late_rows == early_rows);
  CHECK((late_tensors == early_tensors));
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

TEST_CASE("Rows hold the z-loss of runs that have one, the mean over layers and tokens without its coefficient") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config plain = config_of(directory, "softmax", "fp32", {"train.steps=3", "model.initializer_range=1.0e-4"});
  Config with_z = plain;
  with_z.run.name = "z";
  with_z.model.router_z_loss_coef = 1.0e-3;
  const auto rows = train(plain);
  const auto z_rows = train(with_z);
  for (const auto& [step, row] : rows) {
    CHECK_FALSE(row.contains("z_loss"));
    REQUIRE(z_rows.at(step).contains("z_loss"));
    // Weights near 0: every logit is 0, and lse = ln N.
    CHECK(z_rows.at(step)["z_loss"].get<double>() == Approx(std::log(6.0) * std::log(6.0)).epsilon(0.02));
    CHECK(z_rows.at(step)["aux_loss"].get<double>() == Approx(row["aux_loss"].get<double>()).epsilon(0.02));
  }
  CHECK(z_rows.at(1)["aux_loss"] == rows.at(1)["aux_loss"]);
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
  const std::vector<Json> resumed = events_of(config_of(directory, "uoe", "fp32"), "resumed");
  REQUIRE(resumed.size() == 1);
  CHECK(resumed[0]["step"] == 4);
  expect_contains(resumed[0]["from"].get<std::string>(), "step-00000004");
  CHECK(resumed[0]["changes"] == Json::array({{{"key", "optimizer.lr"}, {"before", "0.001"}, {"after", "0.002"}},
                                              {{"key", "train.steps"}, {"before", "12"}, {"after", "6"}}}));
}

TEST_CASE("A last step before the checkpoint's is an error, and the run stays as it is") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "uoe", "fp32", {"train.steps=4"});
  train(config);
  const std::string saved = read_file(run_file(config, "config.yaml"));
  const std::string rows = read_file(run_file(config, "metrics.jsonl"));
  const std::string error = error_text([&] { train(config_of(directory, "uoe", "fp32", {"train.steps=3"})); });
  expect_contains(error, "[train.steps] required at least 4, the step of ");
  expect_contains(error, "step-00000004, found 3; raise it, or resume from an older checkpoint under another run.name");
  CHECK(read_file(run_file(config, "config.yaml")) == saved);
  CHECK(read_file(run_file(config, "metrics.jsonl")) == rows);
  CHECK(train(config).size() == 4);  // nothing to do is no error
}

TEST_CASE("An empty text is no checkpoint to resume from") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "uoe", "fp32");
  train(config, 4);
  TrainOptions options;
  options.resume = "";
  expect_contains(error_text([&] { train(config, 12, options); }), "--resume required auto, never or the path");
  CHECK(checkpoints_of(config).size() == 1);
}

TEST_CASE("A damaged row is named by its line and keeps a run from going on before anything changes") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "uoe", "fp32");
  train(config, 4);
  const std::string path = run_file(config, "metrics.jsonl");
  const std::string whole = read_file(path);
  const std::size_t third = whole.find('\n', whole.find('\n') + 1) + 1;
  const std::string damage = GENERATE(as<std::string>{}, "{\"step\": 3, \"loss", "[]", "{\"step\": 3}");
  const std::string damaged = whole.substr(0, third) + damage + "\n" + whole.substr(third) + "{\"cut sho";
  std::ofstream(path, std::ios::trunc) << damaged;
  const std::string saved = read_file(run_file(config, "config.yaml"));
  TrainOptions allowed;
  allowed.allow_changes = {"optimizer.lr"};
  const std::string error =
      error_text([&] { train(config_of(directory, "uoe", "fp32", {"optimizer.lr=0.002"}), 12, allowed); });
  expect_contains(error, "metrics.jsonl:3] required a row in JSON");
  expect_contains(error, "found " + damage + "; remove that line");
  CHECK(read_file(run_file(config, "config.yaml")) == saved);
  CHECK(read_file(path) == damaged);
  std::ofstream(path, std::ios::trunc) << whole;
  CHECK(train(config).size() == 12);
}

TEST_CASE("A run that goes on from another run's checkpoint says so in its first row") {
  const TemporaryDirectory directory;
  prepare(directory);
  train(config_of(directory, "uoe", "fp32"), 4);
  TrainOptions options;
  options.resume = directory.file("r");
  const Config fork = config_of(directory, "uoe", "fp32", {"run.name=fork", "train.steps=6"});
  CHECK(train(fork, 6, options).size() == 2);
  CHECK(rows_of(fork).at(0)["event"] == "resumed");
  CHECK(rows_of(fork).at(0)["from"] == directory.file("r/checkpoints/step-00000004"));
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
  Log log("", Screen::warnings);
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
