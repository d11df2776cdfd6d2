#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

#include "support/catch.h"
#include "support/temporary_directory.h"
#include "util/files.h"
#include "util/json.h"

// The executable as its users run it: exit codes, standard output, signals.

using namespace artel;

namespace {

struct Outcome {
  int exit_code = -1;
  std::string output;  ///< standard output
  std::string errors;  ///< standard error
};

Outcome run(const std::string& arguments) {
  const TemporaryDirectory scratch;
  const std::string error_file = scratch.file("stderr");
  const std::string command = std::string(ARTEL_EXECUTABLE) + " " + arguments + " 2>" + error_file;
  Outcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  char buffer[4096];
  for (std::size_t count = 0; (count = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    outcome.output.append(buffer, count);
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  outcome.errors = read_file(error_file);
  return outcome;
}

std::string tiny_config(const TemporaryDirectory& directory, const std::string& extra = "") {
  std::ofstream tokens(directory.file("tokens.bin"), std::ios::binary);
  for (int i = 0; i < 3000; ++i) tokens.put(static_cast<char>('a' + (i * i + i / 7) % 26));
  const std::string path = directory.file("tiny.yaml");
  std::ofstream(path)
      << "run: {name: tiny, directory: " << directory.path() << "}\n"
      << "model: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 2, "
         "max_position_embeddings: 16, num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 16, "
         "shared_expert_intermediate_size: 8, routing: {type: uoe}}\n"
      << "data: {train: [{path: " << directory.file("tokens.bin")
      << "}], validation: [{path: " << directory.file("tokens.bin") << "}]}\n"
      << "train: {steps: 8, global_batch_size: 2, micro_batch_size: 2, threads: 1}\n"
      << "validation: {every: 4, batches: 2}\ncheckpoint: {every: 4}\n"
      << extra;
  return path;
}

std::size_t num_lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("Every command explains itself, and the program its version") {
  for (const char* command : {"", "train", "eval", "compare", "describe", "checkpoint", "checkpoint info", "bench"}) {
    const Outcome outcome = run(std::string(command) + " --help");
    INFO(command);
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.output.find("Options") != std::string::npos);
  }
  CHECK(run("--version").output.find("artel ") == 0);
}

TEST_CASE("A wrong command line is one line on standard error and exit code 1") {
  const TemporaryDirectory directory;
  const auto* const arguments =
      GENERATE("", "trian", "train", "train -c", "train -c missing.yaml", "train --frobnicate",
               "eval --checkpoint missing", "compare", "compare missing", "describe -c missing.yaml", "checkpoint",
               "checkpoint info missing", "checkpoint verify missing", "bench -c missing.yaml",
               "bench -c missing.yaml --steps 0", "eval --checkpoint missing --batches -1");
  const Outcome outcome = run(arguments);
  INFO(arguments << ": " << outcome.errors);
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.output.empty());
  CHECK(num_lines(outcome.errors) == 1);
}

TEST_CASE("A misspelt key fails in well under a second, names the place and the remedy, and leaves nothing behind") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory, "optimizer: {lerning_rate: 1.0}\n");
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome = run("train -c " + config);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(1));
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.errors.find("tiny.yaml:7") != std::string::npos);
  CHECK(outcome.errors.find("lerning_rate") != std::string::npos);
  CHECK_FALSE(PosixFileLayer().exists(directory.file("tiny")));
}

TEST_CASE("Train, evaluate, look at checkpoints, compare: the whole path") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  const std::string run_directory = directory.file("tiny");
  const Outcome trained = run("train -c " + config);
  INFO(trained.errors);
  REQUIRE(trained.exit_code == 0);
  CHECK(trained.output.empty());

  const Outcome evaluated = run("eval --checkpoint " + run_directory + " --batches 2");
  REQUIRE(evaluated.exit_code == 0);
  const Json result = parse_json(evaluated.output, "eval");
  CHECK(result["tokens"] == 64);
  // The same two batches as in the last validation row.
  std::ifstream metrics(run_directory + "/metrics.jsonl");
  double validation_loss = 0.0;
  for (std::string line; std::getline(metrics, line);) {
    const Json row = parse_json(line, "metrics");
    if (row.contains("val_loss")) validation_loss = row["val_loss"].get<double>();
  }
  CHECK(result["loss"].get<double>() == validation_loss);

  CHECK(run("checkpoint info " + run_directory).output.find("step        8") != std::string::npos);
  CHECK(run("checkpoint verify " + run_directory).exit_code == 0);

  REQUIRE(run("train -c " + config + " --set run.name=other --set model.routing.type=softmax").exit_code == 0);
  const std::string page = directory.file("report.html");
  const Outcome compared = run("compare " + run_directory + " " + directory.file("other") + " --json -o " + page);
  INFO(compared.errors);
  REQUIRE(compared.exit_code == 0);
  CHECK(parse_json(compared.output, "compare")["runs"].size() == 2);
  CHECK(read_file(page).find("<svg") != std::string::npos);

  const Json described = parse_json(run("describe --json -c " + config).output, "describe");
  CHECK(described["parameters"]["total"].get<std::int64_t>() > 0);
  CHECK(parse_json(run("describe --json -c " + config + " -c " + config).output, "describe").size() == 2);
  const Json bench = parse_json(run("bench --json --steps 2 -c " + config).output, "bench");
  CHECK(bench["tokens_per_second"].get<double>() > 0.0);

  std::fstream tensors(run_directory + "/checkpoints/step-00000008/model-00000.safetensors",
                       std::ios::in | std::ios::out | std::ios::binary);
  tensors.seekp(-3, std::ios::end);
  tensors.put('\x7f');
  tensors.close();
  const Outcome damaged = run("checkpoint verify " + run_directory);
  CHECK(damaged.exit_code == 1);
  CHECK(damaged.output.find("DAMAGED") != std::string::npos);
}

TEST_CASE("A signal ends training after the step with a checkpoint") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  const int signal = GENERATE(SIGINT, SIGTERM);
  const pid_t child = fork();
  if (child == 0) {
    freopen((directory.file("stderr")).c_str(), "w", stderr);
    execl(ARTEL_EXECUTABLE, ARTEL_EXECUTABLE, "train", "-c", config.c_str(), "--set", "train.steps=1000000",
          static_cast<char*>(nullptr));
    _exit(127);
  }
  // Wait for the first step: its row is in the metrics.
  const std::string metrics = directory.file("tiny/metrics.jsonl");
  for (int i = 0; i < 3000; ++i) {
    std::ifstream file(metrics);
    std::string text((std::istreambuf_iterator<char>(file)), {});
    if (text.find("\"step\":1,") != std::string::npos) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  kill(child, signal);
  int status = 0;
  waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(read_file(directory.file("stderr")).find("to go on: ") != std::string::npos);
  CHECK(run("checkpoint verify " + directory.file("tiny")).exit_code == 0);
}
