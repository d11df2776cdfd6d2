// What a resumed run is told when the samples or the learning rate are not those that it would have gone on with.

#include "checkpoint/manifest.h"
#include "optim/schedule.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/token_files.h"
#include "train/tiny_run.h"
#include "util/text.h"

using namespace artel;

namespace {

std::string refusal(const Config& config, const TrainOptions& options = {}) {
  return error_text([&] { TinyTrainer(config, options); });
}

// What a run that resumes says in its log.
std::string log_of(const Config& config, const TrainOptions& options = {}) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("log.txt");
  {
    PosixFileLayer files;
    Log log(path, Screen::none);
    Runtime runtime(config.train, log);
    Trainer(config, runtime, files, log, options);
  }
  return read_file(path);
}

}  // namespace

TEST_CASE("A resumed run refuses training data that grew under the same path, unless told to take it") {
  const TemporaryDirectory directory;
  prepare(directory);
  write_tokens(directory.file("t1.bin"), 4000);
  const Config config = config_of(directory, "softmax", "fp32", {"data.train.0.path=" + directory.file("t*.bin")});
  std::filesystem::remove(directory.file("train.bin"));
  train(config, 4);
  const std::string manifest_file = checkpoints_of(config).at(0) + "/manifest.json";
  const Json data = parse_json(read_file(manifest_file), manifest_file)["data"];
  CHECK(data["next_sample"] == 16);
  CHECK(data["sources"] == Json::array({{{"path", directory.file("t*.bin")}, {"windows", 235}, {"ids", 4000}}}));

  write_tokens(directory.file("t2.bin"), 1000);
  const std::string error = refusal(config);
  expect_contains(error, "[data.train]");
  expect_contains(error, directory.file("t*.bin") + " with 4000 ids in 235 windows");
  expect_contains(error, directory.file("t*.bin") + " with 5000 ids in 294 windows");
  expect_contains(error, "--allow-change data.train");
  write_tokens(directory.file("t2.bin"), 3);
  expect_contains(refusal(config), "found " + directory.file("t*.bin") + " with 4003 ids in 235 windows");

  TrainOptions options;
  options.allow_changes = {"data"};
  CHECK(train(config, 6, options).size() == 6);
  const std::vector<Json> resumed = events_of(config, "resumed");
  REQUIRE(resumed.size() == 1);
  REQUIRE(resumed[0]["changes"].size() == 1);
  CHECK(resumed[0]["changes"][0]["key"] == "data.train");
  expect_contains(resumed[0]["changes"][0]["after"].get<std::string>(), "4003 ids in 235 windows");
  CHECK(train(config, 8).size() == 8);  // the checkpoint of step 6 knows the new data
}

TEST_CASE("A resumed run takes data that moved, and checkpoints that do not say what their data were") {
  const TemporaryDirectory directory;
  prepare(directory);
  train(config_of(directory, "softmax", "fp32"), 4);
  std::filesystem::rename(directory.file("train.bin"), directory.file("elsewhere.bin"));
  const Config moved =
      config_of(directory, "softmax", "fp32", {"data.train.0.path=" + directory.file("elsewhere.bin")});
  expect_contains(refusal(moved), "data.train");
  TrainOptions options;
  options.allow_changes = {"data.train"};
  CHECK(train(moved, 6, options).size() == 6);
  REQUIRE(events_of(moved, "resumed").size() == 1);
  CHECK(events_of(moved, "resumed")[0]["changes"].size() == 1);  // the path alone

  const std::string manifest_file = checkpoints_of(moved).at(0) + "/manifest.json";
  Manifest manifest = parse_manifest(read_file(manifest_file), manifest_file);
  manifest.head["data"].erase("sources");
  std::ofstream(manifest_file) << manifest_text(manifest);
  write_tokens(directory.file("elsewhere.bin"), 5000);
  CHECK(train(moved, 8).size() == 8);
}

TEST_CASE("A resumed run warns where another train.steps moves the learning rate") {
  const TemporaryDirectory directory;
  prepare(directory);
  const auto config = [&](const std::string& steps, const std::string& schedule) {
    return config_of(directory, "softmax", "fp32",
                     {"train.steps=" + steps, "schedule.type=" + schedule, "run.name=" + schedule});
  };
  train(config("12", "cosine"), 5);
  const auto rate = [&](const std::string& steps) {
    const Config with = config(steps, "cosine");
    return concat(static_cast<float>(learning_rate(with.schedule, with.optimizer.lr, 6, with.train.steps)));
  };
  const std::string log = log_of(config("24", "cosine"));
  expect_contains(log, "step 6 has the learning rate " + rate("24") + "; by the config of ");
  expect_contains(log, "it would have " + rate("12") + " (train.steps was 12, now 24)");
  CHECK_FALSE(contains(log_of(config("12", "cosine")), "learning rate"));

  train(config("12", "constant"), 5);
  CHECK_FALSE(contains(log_of(config("24", "constant")), "learning rate"));
  train(config("12", "linear"), 2);  // in the warm-up, which goes on as it was
  CHECK_FALSE(contains(log_of(config("24", "linear")), "learning rate"));
}

TEST_CASE("In the order of Megatron-core a resumed run refuses a number of steps with which the order is another") {
  const TemporaryDirectory directory;
  prepare(directory);
  std::vector<std::int64_t> lengths(80, 50), bounds(81);
  for (std::size_t i = 0; i < bounds.size(); ++i) bounds[i] = static_cast<std::int64_t>(i);
  std::ofstream(directory.file("train.idx"), std::ios::binary) << megatron_index(1, 1, lengths, bounds);
  const auto config = [&](const std::string& steps) {
    return config_of(directory, "softmax", "fp32", {"data.order=megatron", "train.steps=" + steps});
  };
  train(config("12"), 4);
  // 249 samples in an epoch, four in a step.
  CHECK_FALSE(contains(log_of(config("62")), "megatron"));
  const std::string error = refusal(config("63"));
  expect_contains(error, "[train.steps]");
  expect_contains(error, "train.steps 63 instead of 12");
  expect_contains(error, "--allow-change train.steps");
  TrainOptions options;
  options.allow_changes = {"train.steps"};
  expect_contains(log_of(config("63"), options), "train.steps 63 instead of 12 data.order: megatron has another order");
}
