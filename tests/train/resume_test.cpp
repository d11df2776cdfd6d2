// What a resumed run is told when the samples or the learning rate are not those that it would have gone on with.

#include "checkpoint/manifest.h"
#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "train/tiny_run.h"

using namespace artel;

namespace {

std::string refusal(const Config& config, const TrainOptions& options = {}) {
  return error_text([&] { TinyTrainer(config, options); });
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
