#include "cli/executable.h"

// Errors say what was required, what was found and what to do, and name the key or the option.

using namespace artel;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void expect_refused(const std::string& arguments, const std::vector<std::string>& parts) {
  const ProgramOutcome outcome = run(arguments);
  INFO(arguments << ": " << outcome.errors);
  CHECK(outcome.exit_code == 1);
  CHECK(num_lines(outcome.errors) == 1);
  for (const std::string& part : parts) {
    INFO(part);
    CHECK(contains(outcome.errors, part));
  }
}

}  // namespace

TEST_CASE("A directory where a token file should be is named with its key") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  const std::string here = directory.path();
  expect_refused("train -c " + config + " --set 'data.train=[{path: " + here + "}]'",
                 {"'data.train.0.path' required a token file, found the directory ", "mend the path"});
  expect_refused("data inspect --dtype uint8 " + here, {": required a token file, found a directory; name a file"});
}

TEST_CASE("A run directory that cannot be made is named with its key") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  for (const std::string& arguments : {"train -c " + config, "sweep --seeds 1 -c " + config}) {
    const ProgramOutcome outcome = run(arguments + " --set run.directory=" + config);
    INFO(outcome.errors);
    CHECK(outcome.exit_code == 1);
    CHECK(contains(outcome.errors, "[run.directory] required a directory to write runs to, found " + config));
    CHECK(contains(outcome.errors, "; set run.directory to another"));
  }
}

TEST_CASE("What the device cannot train is refused before a run directory is made") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory) + " --set train.device=cpu --set model.head_dim=258";
  for (const std::string command : {"train -c ", "sweep --seeds 1 -c "}) {
    expect_refused(command + config, {"[model.head_dim] required head_dim of at most 256 on a CPU, found 258"});
  }
  CHECK_FALSE(PosixFileLayer().exists(directory.file("tiny")));
  CHECK_FALSE(PosixFileLayer().exists(directory.file("tiny-seed1")));
}

TEST_CASE("Missing and damaged inputs of eval are told apart") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  REQUIRE(run("train -c " + config).exit_code == 0);
  const std::string tiny = directory.file("tiny");
  expect_refused("eval --checkpoint nope", {"required a checkpoint or a run directory", "found no directory nope;"});
  expect_refused("eval --checkpoint " + directory.path(), {"which has neither; mend the path"});
  expect_refused("eval --checkpoint " + tiny + " --data nope.bin",
                 {"nope.bin: required a token file, found none there; make it or mend the path"});
  const std::string manifest = tiny + "/checkpoints/step-00000008/manifest.json";
  std::ofstream(manifest, std::ios::trunc) << "{\"format\": ";
  expect_refused("eval --checkpoint " + tiny, {"found 11 bytes that are none", "damaged, use an older checkpoint"});
  std::ofstream(manifest, std::ios::trunc).close();
  expect_refused("eval --checkpoint " + tiny, {"found the empty file ", "manifest.json; use an older checkpoint"});
}

TEST_CASE("describe counts memory in the precision of a run here, and its JSON says which") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  const auto described = [&](const std::string& precision) {
    return parse_json(run("describe --json -c " + config + " --set train.precision=" + precision).output, "describe");
  };
  CHECK(described("fp32")["precision"] == "fp32");
  CHECK(described("bf16")["precision"] == "bf16");
  REQUIRE(run("train -c " + config + " --set train.precision=auto").exit_code == 0);
  const std::string here =
      parse_json(contents(directory.file("tiny/summary.json")), "summary")["precision"].get<std::string>();
  CHECK(described("auto")["precision"] == here);
  CHECK(described("auto")["memory_bytes_per_rank"] == described(here)["memory_bytes_per_rank"]);
  CHECK(contains(run("describe -c " + config).output, "(" + here + " by precision: auto on this machine, 1 ranks)"));
  CHECK_FALSE(contains(run("describe -c " + config + " --set train.precision=bf16").output, "on this machine"));
}
