#include <cstdlib>
#include <sstream>

#include "cli/executable.h"

// Signals to a run, the command that it prints, and a disk without room.

using namespace artel;

namespace {

std::int64_t last_step(const std::string& metrics) {
  std::int64_t step = -1;
  std::istringstream lines(contents(metrics));
  for (std::string line; std::getline(lines, line);) {
    const Json row = parse_json(line, metrics);
    if (row.contains("loss")) step = row["step"].get<std::int64_t>();
  }
  return step;
}

std::string printed_command(const std::string& errors) {
  const std::string before = "to go on: ";
  const std::size_t begin = errors.rfind(before);
  REQUIRE(begin != std::string::npos);
  const std::size_t end = errors.find('\n', begin);
  return errors.substr(begin + before.size(), end - begin - before.size());
}

}  // namespace

TEST_CASE("A second SIGINT ends a run at once with exit code 130") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  // One step takes minutes: the first signal alone would wait for it.
  Program program({"train", "-c", config, "--set", "train.global_batch_size=1000000", "--set", "validation.every=0"},
                  directory.file("stderr"));
  REQUIRE(wait_until([&] { return contents(directory.file("stderr")).find("training tiny") != std::string::npos; }));
  program.signal(SIGINT);
  REQUIRE(wait_until([&] { return program.errors().find("stopping after this step") != std::string::npos; }));
  const auto start = std::chrono::steady_clock::now();
  program.signal(SIGINT);
  CHECK(program.wait() == 130);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
}

TEST_CASE("SIGTERM ends a run after its step; what it prints goes on with it, whatever the shell makes of the words") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory, "", "it's a run");
  const std::string run_directory = directory.file("it's a run");
  Program program({"train", "-c", config, "--resume", "never", "--set", "train.steps=1000000", "--set",
                   "data.validation=[{path: " + directory.file("tokens.bin") + "}]"},
                  directory.file("stderr"));
  REQUIRE(wait_until([&] { return last_step(run_directory + "/metrics.jsonl") >= 2; }));
  program.signal(SIGTERM);
  CHECK(program.wait() == 0);
  const std::int64_t step = last_step(run_directory + "/metrics.jsonl");
  char name[32];
  std::snprintf(name, sizeof name, "step-%08d", static_cast<int>(step));
  CHECK(PosixFileLayer().exists(run_directory + "/checkpoints/" + name));

  // Goes on with the words as printed; a later --set train.steps would be a second one, so it is stopped again.
  const std::string again = printed_command(program.errors());
  INFO(again);
  CHECK(again.find("--resume") == std::string::npos);
  const std::string log = directory.file("again");
  const std::string command = again + " 2>" + log + " & for i in $(seq 400); do grep -q training " + log +
                              " && break; sleep 0.05; done; sleep 0.3; kill -TERM $!; wait $!";
  CHECK(std::system(command.c_str()) == 0);
  CHECK(contents(log).find("resumed from") != std::string::npos);
  CHECK(last_step(run_directory + "/metrics.jsonl") > step);
}

TEST_CASE("A run whose checkpoints find no room on the disk trains to its end, says so and exits with 1") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  // Files may grow to 16 KiB: rows and configs fit, tensors do not.
  const std::string command = "(trap '' XFSZ; ulimit -f 16; exec " + std::string(ARTEL_EXECUTABLE) + " train -c " +
                              config + ") 2>" + directory.file("stderr");
  const int status = std::system(("bash -c \"" + command + "\"").c_str());
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 1);
  const std::string errors = contents(directory.file("stderr"));
  CHECK(errors.find("required a final checkpoint") != std::string::npos);
  CHECK(last_step(directory.file("tiny/metrics.jsonl")) == 8);
  CHECK(contents(directory.file("tiny/metrics.jsonl")).find("\"event\":\"checkpoint_failed\"") != std::string::npos);
}

TEST_CASE("A second run in the same directory is refused while the first one trains") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  const std::string endless = "train.steps=1000000";
  Program first({"train", "-c", config, "--set", endless}, directory.file("first"));
  REQUIRE(wait_until([&] { return contents(directory.file("first")).find("training tiny") != std::string::npos; }));
  Program second({"train", "-c", config, "--set", endless}, directory.file("second"));
  CHECK(second.wait() == 1);
  CHECK(second.errors().find("required a run directory that no other process trains in") != std::string::npos);
  first.signal(SIGTERM);
  CHECK(first.wait() == 0);
}
