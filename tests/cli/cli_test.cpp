#include "cli/executable.h"

// The executable: exit codes, standard output, signals.

using namespace artel;

TEST_CASE("Every command explains itself, and the program its version") {
  for (const char* command : {"", "train", "eval", "compare", "describe", "checkpoint", "checkpoint info", "bench",
                              "generate", "sweep", "data", "data inspect"}) {
    const ProgramOutcome outcome = run(std::string(command) + " --help");
    INFO(command);
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.output.find("Options") != std::string::npos);
  }
  CHECK(run("--version").output.find("artel ") == 0);
}

TEST_CASE("A wrong command line is one line on standard error and exit code 1") {
  const TemporaryDirectory directory;
  const auto* const arguments = GENERATE(
      "", "trian", "train", "train -c", "train -c missing.yaml", "train --frobnicate", "eval --checkpoint missing",
      "compare", "compare missing", "describe -c missing.yaml", "checkpoint", "checkpoint info missing",
      "checkpoint verify missing", "bench -c missing.yaml", "bench -c missing.yaml --steps 0",
      "eval --checkpoint missing --batches -1", "generate --prompt x", "generate --checkpoint missing --prompt x",
      "generate --checkpoint missing", "generate --checkpoint missing --prompt ''",
      "generate --checkpoint missing --prompt x --tokens 0", "generate --checkpoint missing --prompt x --top-p 2",
      "generate --checkpoint missing --prompt x --seed -1", "sweep", "sweep -c missing.yaml",
      "sweep -c missing.yaml --seeds 1..3", "sweep --seeds 1");
  const ProgramOutcome outcome = run(arguments);
  INFO(arguments << ": " << outcome.errors);
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.output.empty());
  CHECK(num_lines(outcome.errors) == 1);
}

TEST_CASE("A misspelt key fails in well under a second, names the place and the remedy, and leaves nothing behind") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory, "optimizer: {lerning_rate: 1.0}\n");
  const auto start = std::chrono::steady_clock::now();
  const ProgramOutcome outcome = run("train -c " + config);
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
  const ProgramOutcome trained = run("train -c " + config);
  INFO(trained.errors);
  REQUIRE(trained.exit_code == 0);
  CHECK(trained.output.empty());

  const ProgramOutcome evaluated = run("eval --checkpoint " + run_directory + " --batches 2");
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
  const ProgramOutcome compared =
      run("compare " + run_directory + " " + directory.file("other") + " --json -o " + page);
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
  const ProgramOutcome damaged = run("checkpoint verify " + run_directory);
  CHECK(damaged.exit_code == 1);
  CHECK(damaged.output.find("DAMAGED") != std::string::npos);
}

TEST_CASE("A signal ends training after the step with a checkpoint") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  const int signal = GENERATE(SIGINT, SIGTERM);
  Program program({"train", "-c", config, "--set", "train.steps=1000000"}, directory.file("stderr"));
  const std::string metrics = directory.file("tiny/metrics.jsonl");
  REQUIRE(wait_until([&] { return contents(metrics).find("\"step\":1,") != std::string::npos; }));
  program.signal(signal);
  CHECK(program.wait() == 0);
  CHECK(program.errors().find("to go on: ") != std::string::npos);
  CHECK(run("checkpoint verify " + directory.file("tiny")).exit_code == 0);
}
