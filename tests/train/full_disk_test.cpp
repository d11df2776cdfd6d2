#include <atomic>
#include <chrono>
#include <sstream>
#include <thread>

#include "support/catch.h"
#include "support/closeness.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "train/metrics.h"
#include "train/tiny_run.h"

// A disk that fills up during training and is freed again.

using namespace artel;

namespace {

// While `full`, of every write half of the bytes arrive.
class FillingDisk : public PosixFileLayer {
 public:
  void write(OutputFile& file, const void* data, size_t size) override {
    if (!full) return PosixFileLayer::write(file, data, size);
    PosixFileLayer::write(file, data, size / 2);
    fail("files", "cannot write " + file.path() + ": No space left on device (made up)");
  }

  std::atomic<bool> full{false};
};

// Checkpoints are written beside training.
void wait_for_checkpoint(const Config& config, const std::string& name) {
  for (int i = 0; i < 1000 && !PosixFileLayer().exists(run_file(config, "checkpoints/" + name)); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

std::vector<Json> lines_of(const std::string& path) {
  std::vector<Json> rows;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) rows.push_back(parse_json(line, path));
  return rows;
}

}  // namespace

TEST_CASE("A full disk costs checkpoints, not the run, older checkpoints or rows") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config =
      config_of(directory, "uoe", "fp32", {"train.steps=14", "checkpoint.every=2", "validation.every=0"});
  FillingDisk disk;
  TinyTrainer tiny(config, {}, &disk);
  std::string newest_while_full;
  CHECK(tiny.trainer.run([&] {
    if (tiny.trainer.step() == 5) {
      wait_for_checkpoint(config, "step-00000004");
      disk.full = true;
    }
    if (tiny.trainer.step() == 9) {
      const auto checkpoint = open_newest(disk, run_file(config, "checkpoints"), [](const std::string&) {});
      REQUIRE(checkpoint != nullptr);  // verified
      newest_while_full = checkpoint->path();
      disk.full = false;
    }
    return false;
  }));
  expect_contains(newest_while_full, "step-00000004");
  const std::vector<Json> failures = events_of(config, "checkpoint_failed");
  REQUIRE(failures.size() >= 1);
  expect_contains(failures[0]["error"].get<std::string>(), "No space left on device");
  std::int64_t last_step = 0;
  for (const Json& row : rows_of(config)) {
    if (!row.contains("loss")) continue;
    CHECK(row["step"] == ++last_step);  // every row, once, in order
  }
  CHECK(last_step == 14);
  expect_contains(checkpoints_of(config).at(0), "step-00000014");
  Checkpoint(disk, checkpoints_of(config).at(0)).verify();
}

TEST_CASE("A disk that stays full ends a run with an error, after its last step, and the old checkpoint stands") {
  const TemporaryDirectory directory;
  prepare(directory);
  const Config config = config_of(directory, "uoe", "fp32", {"validation.every=0"});
  FillingDisk disk;
  TinyTrainer tiny(config, {}, &disk);
  const std::string error = error_text([&] {
    tiny.trainer.run([&] {
      if (tiny.trainer.step() == 5) {
        wait_for_checkpoint(config, "step-00000004");
        disk.full = true;
      }
      return false;
    });
  });
  expect_contains(error, "required a final checkpoint");
  CHECK(tiny.trainer.step() == 12);
  expect_contains(checkpoints_of(config).at(0), "step-00000004");
  Checkpoint(disk, checkpoints_of(config).at(0)).verify();
  // What a kill now leaves is a file whose last line is torn; the next start drops that line and goes on.
  disk.full = false;
  CHECK(train(config).size() == 12);
}

TEST_CASE(
    "Rows wait for room on the disk; the first failure of a series is reported, and later rows tell of lost ones") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("metrics.jsonl");
  FillingDisk disk;
  MetricsFile metrics(disk, path);
  CHECK(metrics.write({{"step", 1}}).empty());
  disk.full = true;
  expect_contains(metrics.write({{"step", 2}}), "No space left");
  CHECK(metrics.write({{"step", 3}}).empty());
  CHECK(metrics.flush() == 2);
  disk.full = false;
  CHECK(metrics.write({{"step", 4}}).empty());
  CHECK(metrics.flush() == 0);
  CHECK(lines_of(path).size() == 4);
  for (int i = 0; i < 4; ++i) CHECK(lines_of(path)[static_cast<std::size_t>(i)]["step"] == i + 1);

  disk.full = true;
  const std::string large(std::size_t{1} << 20, 'x');
  for (int i = 0; i < 20; ++i) metrics.write({{"step", 5 + i}, {"text", large}});
  disk.full = false;
  CHECK(metrics.write({{"step", 25}}).empty());
  const std::vector<Json> rows = lines_of(path);
  CHECK(rows.back()["event"] == "rows_lost");
  CHECK(rows.back()["count"] == 5);  // 15 of them fit into 16 MiB
  CHECK(rows[rows.size() - 2]["step"] == 25);
  CHECK(MetricsFile(disk, path).attempt() == 2);
}
