#include <algorithm>
#include <fstream>

#include "cli/executable.h"
#include "support/error_text.h"

using namespace artel;

namespace {

const std::string golden = ARTEL_SOURCE_DIR "/tests/golden/tokenizers/gpt2.json";

void write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string many_words() {
  std::string text;
  for (int i = 0; i < 2000; ++i)
    text += "the cat and the hat sat " + std::to_string(i % 37) + (i % 50 == 0 ? ";" : " ");
  return text;
}

}  // namespace

TEST_CASE("Train, encode and decode give back the bytes, and threads change nothing") {
  const TemporaryDirectory directory;
  const std::string text = many_words() + "\xff\xfe caf\u00e9\n";
  write(directory.file("text"), text);
  const std::string train = "tokenizer train " + directory.file("text") + " --vocab-size 300 --separator ';' -o ";
  REQUIRE(run(train + directory.file("1.json") + " --threads 1").exit_code == 0);
  REQUIRE(run(train + directory.file("3.json") + " --threads 3").exit_code == 0);
  CHECK(contents(directory.file("1.json")) == contents(directory.file("3.json")));
  CHECK_FALSE(contents(directory.file("1.json")).empty());
  const std::string tokenizer = "-t " + directory.file("1.json") + " ";
  const ProgramOutcome ids = run("tokenizer encode " + tokenizer + directory.file("text"));
  CHECK(ids.exit_code == 0);
  write(directory.file("ids"), ids.output);
  CHECK(run("tokenizer decode " + tokenizer + directory.file("ids")).output == text);
  CHECK(run("tokenizer encode " + tokenizer + "--text 'the cat<|endoftext|>'").output.back() == '\n');
  const ProgramOutcome count = run("tokenizer encode --count " + tokenizer + directory.file("text"));
  CHECK(count.output == std::to_string(std::count(ids.output.begin(), ids.output.end(), ' ') + 1) + "\n");
}

TEST_CASE("Bad input to the commands of tokenizers is one line and exit code 1") {
  const TemporaryDirectory directory;
  write(directory.file("ids"), "1 2 x3");
  write(directory.file("text"), "abc");
  write(directory.file("bad.json"), "{\"model\": {\"type\": \"Unigram\"}}");
  const auto refused = [&](const std::string& arguments, const std::string& part) {
    const ProgramOutcome outcome = run(arguments);
    INFO(arguments << ": " << outcome.errors);
    CHECK(outcome.exit_code == 1);
    CHECK(num_lines(outcome.errors) == 1);
    CHECK(contains(outcome.errors, part));
    CHECK(outcome.output.empty());
  };
  refused("tokenizer encode -t nowhere.json --text x", "and no such file");
  refused("tokenizer encode -t " + golden, "required files or --text, found neither");
  refused("tokenizer encode -t " + directory.file("bad.json") + " --text x", "required a ByteLevel");
  refused("tokenizer decode -t " + golden + " " + directory.file("ids"), "found x3 behind 2 ids");
  refused("tokenizer train " + directory.file("text") + " -o " + directory.file("t") + " --vocab-size 3",
          "--vocab-size");
  refused("tokenizer train " + directory.file("text") + " -o " + directory.file("t") + " --pattern x", "--pattern");
  refused("tokenizer encode -t " + golden + " --jsonl " + directory.file("text"), "text:1");
  refused("data tokenize -t " + golden + " -o " + directory.file("o") + " " + directory.file("nothing"), "nothing");
  refused("data tokenize -t " + golden + " -o " + directory.file("o") + " --dtype uint8 " + directory.file("text"),
          "--dtype required a type that holds ids below 701");
  refused("data tokenize -t " + golden + " -o " + directory.file("o") + " --end-token '<x>' " + directory.file("text"),
          "--end-token required a token of");
  refused("data tokenize -t " + golden + " -o " + directory.file("o") + " --separator '\\q' " + directory.file("text"),
          "--separator required");
}

TEST_CASE("Text becomes token files, a model is trained on them and speaks through the same tokenizer") {
  const TemporaryDirectory directory;
  write(directory.file("text"), many_words() + many_words() + many_words());
  const ProgramOutcome made = run("data tokenize -t " + golden + " --separator ';' --format raw -o " +
                                  directory.file("words") + " " + directory.file("text"));
  INFO(made.errors);
  REQUIRE(made.exit_code == 0);
  CHECK(made.output == directory.file("words.bin") + "\n");
  const std::string config = tiny_config(directory);
  const std::string data = directory.file("words.bin");
  const ProgramOutcome trained =
      run("train -c " + config + " --set data.train.0.path=" + data + " --set data.validation.0.path=" + data +
          " --set model.vocab_size=704 --set data.tokenizer=" + golden + " --set validation.sample_tokens=5");
  INFO(trained.errors);
  REQUIRE(trained.exit_code == 0);
  CHECK_FALSE(contains(trained.errors, "no samples"));
  const std::string metrics = contents(directory.file("tiny/metrics.jsonl"));
  CHECK(contains(metrics, "\"sample\""));
  const ProgramOutcome spoken =
      run("generate --checkpoint " + directory.file("tiny") + " --prompt 'the cat' --tokens 4 --ignore-end");
  INFO(spoken.errors);
  CHECK(spoken.exit_code == 0);
  CHECK_FALSE(spoken.output.empty());
}
