#include <filesystem>
#include <map>
#include <optional>

#include "cli/executable.h"
#include "util/file_lock.h"

// artel sweep: every config with every seed, in runs that survive a death of the whole.

using namespace artel;

namespace {

// Two configs over one data file.
std::string two_configs(const TemporaryDirectory& directory) {
  return "-c " + tiny_config(directory, "", "uoe", "uoe") + " -c " + tiny_config(directory, "", "moe", "softmax");
}

// Every training and validation loss of a run, by step.
std::map<std::string, double> losses_of(const std::string& run_directory) {
  std::map<std::string, double> losses;
  std::ifstream file(run_directory + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const Json row = parse_json(line, run_directory);
    for (const char* key : {"loss", "val_loss"}) {
      if (row.contains(key)) losses[key + std::to_string(row["step"].get<int>())] = row[key].get<double>();
    }
  }
  return losses;
}

// Contents and time of change of every file of a run.
std::map<std::string, std::pair<std::string, std::int64_t>> files_of(const std::string& run_directory) {
  std::map<std::string, std::pair<std::string, std::int64_t>> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run_directory)) {
    if (!entry.is_regular_file()) continue;
    const auto time = entry.last_write_time().time_since_epoch().count();
    files[entry.path().string()] = {contents(entry.path().string()), static_cast<std::int64_t>(time)};
  }
  return files;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("A sweep trains every config with every seed and ends with a comparison of bands") {
  const TemporaryDirectory directory;
  const std::string page = directory.file("report.html");
  const ProgramOutcome outcome =
      run("sweep " + two_configs(directory) + " --seeds 1..3 --json --margin 0.5 -o " + page);
  INFO(outcome.errors);
  REQUIRE(outcome.exit_code == 0);
  const Json json = parse_json(outcome.output, "sweep");
  REQUIRE(json["runs"].size() == 6);
  REQUIRE(json["groups"].size() == 2);
  CHECK(json["groups"][0]["name"] == "uoe");
  CHECK(json["groups"][1]["name"] == "moe");
  CHECK(json["groups"][0]["final_val_loss"]["seeds"] == Json::array({1, 2, 3}));
  CHECK(json["differences"][0]["paired_seeds"] == Json::array({1, 2, 3}));
  CHECK(json["differences"][0]["ci95"].size() == 2);
  CHECK(json["differences"][0]["equivalence"]["margin"] == 0.5);
  CHECK(contains(read_file(page), "mean of 3 seeds, shaded"));
  for (const char* name : {"uoe-seed1", "uoe-seed2", "uoe-seed3", "moe-seed1", "moe-seed2", "moe-seed3"}) {
    CHECK(contains(outcome.errors, std::string(name) + ": finished, step 8, validation loss"));
  }
  // Seeds in the outer loop: what is there after a while are pairs.
  CHECK(outcome.errors.find("moe-seed1: training") < outcome.errors.find("uoe-seed2: training"));
}

TEST_CASE("One seed per config is compared without a verdict") {
  const TemporaryDirectory directory;
  const ProgramOutcome outcome = run("sweep " + two_configs(directory) + " --seeds 7");
  INFO(outcome.errors);
  REQUIRE(outcome.exit_code == 0);
  CHECK(contains(outcome.output, "no verdict: one seed"));
}

TEST_CASE("A sweep that was killed goes on: finished runs stay untouched and the rest ends with the same losses",
          "[slow]") {
  const TemporaryDirectory whole;
  const TemporaryDirectory parts;
  const std::string settings = " --seeds 1,2 --set train.steps=120 --set checkpoint.every=10 --set validation.every=60";
  const ProgramOutcome uninterrupted = run("sweep " + two_configs(whole) + settings);
  INFO(uninterrupted.errors);
  REQUIRE(uninterrupted.exit_code == 0);

  const std::string configs = two_configs(parts);
  const int signal = GENERATE(SIGKILL, SIGTERM, SIGINT);
  INFO("signal " << signal);
  std::string error_file = parts.file("stderr");
  {
    Program program({"sweep", "-c", parts.file("uoe.yaml"), "-c", parts.file("moe.yaml"), "--seeds", "1,2", "--set",
                     "train.steps=120", "--set", "checkpoint.every=10", "--set", "validation.every=60"},
                    error_file);
    const std::string metrics = parts.file("moe-seed1/metrics.jsonl");
    REQUIRE(wait_until([&] { return contains(contents(metrics), "\"step\":25,"); }));
    program.signal(signal);
    const int exit_code = program.wait();
    if (signal == SIGKILL) {
      CHECK(exit_code == 1000 + SIGKILL);
    } else {
      CHECK(exit_code == 0);
      CHECK(contains(program.errors(), "sweep stopped; to go on: "));
      // The child saved what it had when it was asked to end.
      CHECK(contains(run("checkpoint info " + parts.file("moe-seed1")).output, "step"));
      CHECK(contains(program.errors(), "moe-seed1"));
    }
  }
  CHECK_FALSE(std::filesystem::exists(parts.file("uoe-seed2/metrics.jsonl")));
  const auto finished = files_of(parts.file("uoe-seed1"));
  REQUIRE(finished.size() > 5);
  // At once: the child of a killed sweep may still be about.
  const ProgramOutcome resumed = run("sweep " + configs + settings);
  INFO(resumed.errors);
  REQUIRE(resumed.exit_code == 0);
  CHECK(contains(resumed.errors, "uoe-seed1: skipped, finished before"));
  CHECK(files_of(parts.file("uoe-seed1")) == finished);
  CHECK(contains(contents(parts.file("moe-seed1/log.txt")), "resumed from"));
  for (const char* name : {"/uoe-seed1", "/uoe-seed2", "/moe-seed1", "/moe-seed2"}) {
    INFO(name);
    const auto losses = losses_of(parts.path() + name);
    CHECK(losses.size() == 123);
    CHECK(losses == losses_of(whole.path() + name));
  }
}

TEST_CASE("A run that another sweep still trains is waited for") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  std::filesystem::create_directory(directory.file("tiny-seed1"));
  std::optional<FileLock> lock = FileLock::try_acquire(directory.file("tiny-seed1/sweep.lock"));
  REQUIRE(lock);
  Program program({"sweep", "-c", config, "--seeds", "1"}, directory.file("stderr"));
  REQUIRE(wait_until([&] { return contains(program.errors(), "waiting for its end"); }));
  CHECK_FALSE(std::filesystem::exists(directory.file("tiny-seed1/config.yaml")));
  SECTION("until it ends") {
    lock.reset();
    CHECK(program.wait() == 0);
    CHECK(contains(program.errors(), "tiny-seed1: finished"));
  }
  SECTION("or until a signal") {
    program.signal(SIGTERM);
    CHECK(program.wait() == 0);
    CHECK(contains(program.errors(), "sweep stopped; to go on: "));
  }
}

TEST_CASE("All configs are checked before the first run") {
  const TemporaryDirectory directory;
  const std::string good = tiny_config(directory, "", "good");
  const std::string bad = tiny_config(directory, "optimizer: {lr: fast}\n", "bad");
  const auto error = [&](const std::string& arguments) {
    const ProgramOutcome outcome = run("sweep " + arguments);
    INFO(outcome.errors);
    CHECK(outcome.exit_code == 1);
    CHECK(num_lines(outcome.errors) == 1);
    CHECK(outcome.output.empty());
    CHECK_FALSE(std::filesystem::exists(directory.file("good-seed1")));
    return outcome.errors;
  };
  const auto says = [](const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(contains(text, part));
  };
  says(error("-c " + good + " -c " + bad + " --seeds 1"), "optimizer.lr");
  says(error("-c " + good + " -c " + good + " --seeds 1"), "run.name");
  says(error("-c " + good + " --seeds 1 --set run.seed=3"), "--seeds");
  says(error("-c " + good + " --seeds 1 --set data.validation.0.path=missing.bin"), "missing.bin");
  says(error("-c " + good + " --seeds 1 -o " + directory.file("none/report.html")),
       "[--output] required the path of a file to write, found no directory");
  says(error("-c " + good + " --seeds 1 --margin 0"), "--margin");
  for (const char* seeds : {"''", "a", "1..", "..3", "5..1", "1,,2", "1,1", "1..3,2", "-1", "1...3", "1..2000", "1.5",
                            "99999999999999999999", "0..9223372036854775807"}) {
    INFO(seeds);
    says(error("-c " + good + " --seeds=" + seeds), "--seeds");
  }
}

TEST_CASE("A run directory of another config is an error that names the keys, before anything is trained") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory, "", "tiny");
  REQUIRE(run("sweep -c " + config + " --seeds 2").exit_code == 0);
  const ProgramOutcome other = run("sweep -c " + config + " --seeds 1,2 --set train.steps=12 --set optimizer.lr=0.5");
  INFO(other.errors);
  CHECK(other.exit_code == 1);
  CHECK(contains(other.errors, "train.steps (there 8, here 12)"));
  CHECK(contains(other.errors, "optimizer.lr"));
  CHECK_FALSE(std::filesystem::exists(directory.file("tiny-seed1")));
  // What leaves the losses alone may differ, and a single config may be given another name.
  const ProgramOutcome same =
      run("sweep -c " + config + " --seeds 2 --set checkpoint.keep=1 --set validation.sample_tokens=3");
  INFO(same.errors);
  CHECK(same.exit_code == 0);
  CHECK(contains(same.errors, "skipped"));
  CHECK(run("sweep -c " + config + " --seeds 2 --set run.name=renamed").exit_code == 0);
  CHECK(std::filesystem::exists(directory.file("renamed-seed2/metrics.jsonl")));
}

TEST_CASE("A run that fails is reported, the others go on, and the exit code says so") {
  const TemporaryDirectory directory;
  const std::string configs = two_configs(directory);
  // A file where the directory of checkpoints must be: training of this run cannot start.
  std::filesystem::create_directory(directory.file("uoe-seed1"));
  std::ofstream(directory.file("uoe-seed1/checkpoints")) << "in the way";
  const ProgramOutcome outcome = run("sweep " + configs + " --seeds 1,2");
  INFO(outcome.errors);
  CHECK(outcome.exit_code == 1);
  CHECK(contains(outcome.errors, "uoe-seed1: failed: "));
  CHECK(contains(outcome.errors, "1 of 4 runs failed: uoe-seed1"));
  CHECK(contains(outcome.errors, "moe-seed2: finished"));
  CHECK(contains(outcome.output, "moe"));
  std::filesystem::remove(directory.file("uoe-seed1/checkpoints"));
  const ProgramOutcome mended = run("sweep " + configs + " --seeds 1,2");
  INFO(mended.errors);
  CHECK(mended.exit_code == 0);
  CHECK(contains(mended.errors, "moe-seed2: skipped"));
}
