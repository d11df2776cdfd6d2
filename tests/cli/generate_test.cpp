#include "cli/executable.h"
#include "support/tiktoken_file.h"

// artel generate, and the samples that a run leaves in its log.

using namespace artel;

namespace {

// Trains a model on one line that comes again and again, until it knows it by heart.
std::string trained_run(const TemporaryDirectory& directory, const std::string& extra = "") {
  const std::string config = tiny_config(directory, extra);
  std::ofstream tokens(directory.file("tokens.bin"), std::ios::binary);
  for (int i = 0; i < 200; ++i) tokens << "abcdefghijklmn.\n";
  tokens.close();
  const ProgramOutcome outcome = run("train -c " + config +
                                     " --set train.steps=60 --set optimizer.lr=0.01 --set train.global_batch_size=8 "
                                     "--set validation.every=30 --set train.micro_batch_size=8");
  INFO(outcome.errors);
  REQUIRE(outcome.exit_code == 0);
  return directory.file("tiny");
}

ProgramOutcome generated(const std::string& directory, const std::string& arguments) {
  return run("generate --checkpoint " + directory + " " + arguments);
}

std::vector<Json> rows_of(const std::string& path) {
  std::vector<Json> rows;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) rows.push_back(parse_json(line, path));
  return rows;
}

}  // namespace

TEST_CASE("Generated text goes on where the prompt ends, the same for one seed whatever the threads") {
  const TemporaryDirectory directory;
  const std::string trained = trained_run(directory);
  const ProgramOutcome greedy = generated(trained, "--prompt abc --temperature 0 --tokens 14");
  INFO(greedy.errors);
  CHECK(greedy.exit_code == 0);
  CHECK(greedy.output == "defghijklmn.\na");
  CHECK(greedy.errors.find("14 tokens") != std::string::npos);
  CHECK(generated(trained, "--prompt abc --top-k 1 --tokens 14").output == greedy.output);

  const std::string hot = "--temperature 20 --tokens 40 --prompt abc ";
  const std::string sampled = generated(trained, hot + "--seed 7 --threads 1").output;
  CHECK(generated(trained, hot + "--seed 7 --threads 3").output == sampled);
  CHECK(generated(trained, hot + "--seed 8").output != sampled);

  std::ofstream(directory.file("prompt.txt")) << "abc";
  CHECK(generated(trained, "--temperature 0 --tokens 14 --prompt-file " + directory.file("prompt.txt")).output ==
        greedy.output);
  CHECK(generated(trained + "/checkpoints/step-00000060", "--prompt abc --temperature 0 --tokens 14").output ==
        greedy.output);
}

TEST_CASE("A text ends at the end of a document unless told otherwise") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  std::ofstream tokens(directory.file("tokens.bin"), std::ios::binary);
  for (int i = 0; i < 200; ++i) tokens.write("abcdefg\0", 8);
  tokens.close();
  REQUIRE(run("train -c " + config + " --set train.steps=60 --set optimizer.lr=0.01 --set train.global_batch_size=8")
              .exit_code == 0);
  const std::string greedy = "--prompt abc --temperature 0 --tokens 9";
  const ProgramOutcome ended = generated(directory.file("tiny"), greedy);
  CHECK(ended.output == "defg");
  CHECK(ended.errors.find("end of the document") != std::string::npos);
  CHECK(generated(directory.file("tiny"), greedy + " --ignore-end").output == std::string("defg\0abcd", 9));
}

TEST_CASE("Numbers that no token has are never generated") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  std::ofstream(directory.file("small_cl100k.tiktoken")) << tiktoken_with_gap();
  const ProgramOutcome trained =
      run("train -c " + config + " --set train.steps=2 --set model.vocab_size=300 --set data.train.0.dtype=uint8 " +
          "--set data.validation.0.dtype=uint8 --set data.tokenizer=" + directory.file("small_cl100k.tiktoken"));
  INFO(trained.errors);
  REQUIRE(trained.exit_code == 0);
  const ProgramOutcome made =
      generated(directory.file("tiny"), "--prompt abc --tokens 500 --temperature 100 --ignore-end");
  INFO(made.errors);
  CHECK(made.exit_code == 0);
  CHECK(made.errors.find("500 tokens") != std::string::npos);
}

TEST_CASE("What generate cannot do is one line that says so") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  REQUIRE(run("train -c " + config + " --set model.vocab_size=128").exit_code == 0);
  const auto error = [&](const std::string& arguments) {
    const ProgramOutcome outcome = generated(directory.file("tiny"), arguments);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.output.empty());
    CHECK(num_lines(outcome.errors) == 1);
    return outcome.errors;
  };
  const auto says = [](const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  says(error("--prompt ''"), "empty --prompt");
  says(error(""), "neither");
  says(error("--prompt a --prompt-file b"), "both");
  says(error("--prompt-file " + directory.file("none.txt")), "none.txt");
  says(error("--prompt a\xc3\xa9"), "found 195 at position 1");
  says(error("--prompt a --temperature -1"), "temperature");
  says(error("--prompt a --temperature nan"), "temperature");
  says(error("--prompt a --top-p 0"), "top-p");
  says(error("--prompt a --top-k -2"), "top-k");
}

TEST_CASE("A run leaves a sample after each validation, and trains the same without") {
  const TemporaryDirectory with;
  const TemporaryDirectory without;
  const std::string trained = trained_run(with, "");
  std::vector<std::string> samples;
  for (const Json& row : rows_of(trained + "/metrics.jsonl")) {
    // The weights of step 0 have nothing to say.
    CHECK(row.contains("sample") == (row.contains("val_loss") && row["step"] > 0));
    if (row.contains("sample")) samples.push_back(row["sample"].get<std::string>());
  }
  REQUIRE(samples.size() == 2);  // steps 30 and 60
  for (const std::string& sample : samples) {
    CHECK(sample.rfind("The ", 0) == 0);
    CHECK(std::all_of(sample.begin(), sample.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7F; }));
    CHECK(contents(trained + "/log.txt").find("sample: " + sample) != std::string::npos);
  }
  CHECK(samples.back().find("abcdefghijklmn.\\n") != std::string::npos);

  const std::string plain = trained_run(without, "");
  std::filesystem::remove_all(plain);
  REQUIRE(run("train -c " + without.file("tiny.yaml") +
              " --set train.steps=60 --set optimizer.lr=0.01 --set train.global_batch_size=8 --set validation.every=30 "
              "--set train.micro_batch_size=8 --set validation.sample_tokens=0")
              .exit_code == 0);
  const auto with_rows = rows_of(trained + "/metrics.jsonl");
  const auto without_rows = rows_of(plain + "/metrics.jsonl");
  REQUIRE(with_rows.size() == without_rows.size());
  for (std::size_t i = 0; i < with_rows.size(); ++i) {
    Json a = with_rows[i];
    Json b = without_rows[i];
    CHECK_FALSE(b.contains("sample"));
    for (const char* key : {"sample", "seconds", "seconds_waited", "tokens_per_second", "mfu"}) {
      a.erase(key);
      b.erase(key);
    }
    CHECK(a == b);
  }
  const std::string tensors = "/checkpoints/step-00000060/model-00000.safetensors";
  CHECK(contents(trained + tensors) == contents(plain + tensors));
  const std::string moments = "/checkpoints/step-00000060/optimizer-00000.safetensors";
  CHECK(contents(trained + moments) == contents(plain + moments));
  CHECK_FALSE(contents(plain + moments).empty());
}

TEST_CASE("Runs that cannot decode, or whose vocabulary is too small for the tokenizer, train without samples") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  const std::string setting =
      GENERATE(as<std::string>{}, "model.vocab_size=128", "data.tokenizer=tokenizer.json", "validation.every=0");
  const ProgramOutcome outcome = run("train -c " + config + " --set " + setting +
                                     " --set data.train.0.dtype=uint8 --set "
                                     "data.validation.0.dtype=uint8");
  INFO(outcome.errors);
  CHECK(outcome.exit_code == 0);
  CHECK((outcome.errors.find("no samples") != std::string::npos) == (setting != "validation.every=0"));
  for (const Json& row : rows_of(directory.file("tiny/metrics.jsonl"))) CHECK_FALSE(row.contains("sample"));
}
