#include "cli/executable.h"

// artel export, import and eval --logits.

using namespace artel;

namespace {

void expect_line(const ProgramOutcome& outcome, const std::string& part) {
  INFO(outcome.errors);
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.output.empty());
  CHECK(num_lines(outcome.errors) == 1);
  CHECK(outcome.errors.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("A run is exported, imported, evaluated and trained from") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory, "", "tiny", "softmax");
  REQUIRE(run("train -c " + config + " --set train.precision=fp32").exit_code == 0);
  const ProgramOutcome written =
      run("export --checkpoint " + directory.file("tiny") + " --output " + directory.file("out"));
  INFO(written.errors);
  REQUIRE(written.exit_code == 0);
  CHECK(written.errors.find("Qwen2MoeForCausalLM") != std::string::npos);
  for (const char* name :
       {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}) {
    CHECK_FALSE(contents(directory.file(std::string("out/") + name)).empty());
  }
  const ProgramOutcome read = run("import --from " + directory.file("out") + " --output " + directory.file("in") +
                                  " --set train.precision=fp32 --set train.threads=1 --set train.micro_batch_size=2"
                                  " --set train.global_batch_size=2");
  INFO(read.errors);
  REQUIRE(read.exit_code == 0);
  const std::string eval = " --batches 1 --data " + directory.file("tokens.bin");
  const ProgramOutcome before =
      run("eval --checkpoint " + directory.file("tiny") + eval + " --logits " + directory.file("a.npy"));
  const ProgramOutcome after =
      run("eval --checkpoint " + directory.file("in") + eval + " --logits " + directory.file("b.npy"));
  CHECK(before.exit_code == 0);
  CHECK(after.exit_code == 0);
  const std::string a = contents(directory.file("a.npy"));
  const std::string b = contents(directory.file("b.npy"));
  CHECK(a.substr(1, 5) == "NUMPY");
  CHECK(a.find("'descr': '<f4', 'fortran_order': False, 'shape': (2, 16, 256), }") != std::string::npos);
  CHECK(a.size() == 128 + 2 * 16 * 256 * 4);
  CHECK((a == b));  // not expanded: bytes are no text
  const ProgramOutcome trained =
      run("train -c " + config + " --set run.name=next --set train.init_from=" + directory.file("in"));
  INFO(trained.errors);
  CHECK(trained.exit_code == 0);
  CHECK(trained.errors.find("weights from") != std::string::npos);
}

TEST_CASE("What export and import cannot do is one line that says so") {
  const TemporaryDirectory directory;
  REQUIRE(run("train -c " + tiny_config(directory)).exit_code == 0);
  const std::string from = "export --checkpoint " + directory.file("tiny");
  const std::string to = " --output " + directory.file("out");
  expect_line(run(from + to + " --layout mixtral"), "model.routing.type required softmax, found uoe");
  expect_line(run(from + to + " --layout mixtrel"), "did you mean 'mixtral'");
  expect_line(run(from + to + " --max-shard-size 5furlongs"), "--max-shard-size");
  expect_line(run(from + to + " --dtype fp16"), "--dtype");
  expect_line(run(from + to + " --format gguf"), "--format");
  expect_line(run(from + to + " --tokenizer " + directory.file("none.json")), "none.json");
  expect_line(run(from + " --output " + directory.file("tiny")), "does not exist");
  expect_line(run(from), "--output");
  expect_line(run("import --from " + directory.file("tiny") + to), "config.json");
  CHECK(contents(directory.file("out/config.json")).empty());
}
