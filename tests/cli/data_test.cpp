#include <cstring>

#include "cli/executable.h"
#include "support/token_files.h"

// artel data inspect, and tasks and bits per byte from training to comparison.

using namespace artel;

TEST_CASE("A Megatron file is shown with its documents, samples and ids out of range") {
  Folder folder;
  const std::string path = folder.write(std::string("hey\0you there\0", 14), "d.bin");
  folder.write(megatron_index(1, 1, {4, 10}, {0, 1, 2}), "d.idx");
  const ProgramOutcome shown = run("data inspect " + path + " --tokenizer bytes --vocab-size 120 --samples 2");
  INFO(shown.errors);
  CHECK(shown.exit_code == 0);
  CHECK(shown.output == path + "\n  format      Megatron, uint8, documents in " + folder.file("d.idx") +
                            "\n  tokens      14, ids 0 to 121\n"
                            "  documents   2 of 4 to 10 tokens, mean 7.0, median 4, 90 % at most 10, 99 % at most 10\n"
                            "  out of range 2 ids: 121 at position 2, 121 at position 4\n"
                            "  at 0  hey\\x00\n  at 4  you there\\x00\n");
  const ProgramOutcome json = run("data inspect --json --samples 1 " + path);
  const Json file = parse_json(json.output, "stdout")["files"][0];
  CHECK(file["format"] == "Megatron");
  CHECK(file["documents"]["count"] == 2);
  CHECK(file["samples"][0]["text"].is_null());
  CHECK(file["samples"][0]["ids"] == Json::array({104, 101, 121, 0}));
}

TEST_CASE("What cannot be shown is one line") {
  Folder folder;
  const std::string raw = folder.write("abc");
  const auto error = [](const std::string& arguments) {
    const ProgramOutcome outcome = run("data " + arguments);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.output.empty());
    CHECK(num_lines(outcome.errors) == 1);
    return outcome.errors;
  };
  CHECK(error("inspect " + raw).find("required --dtype, --vocab-size or --tokenizer") != std::string::npos);
  CHECK(error("inspect " + folder.file("none")).find("found none there") != std::string::npos);
  CHECK(error("inspect --dtype uint16 " + raw).find("is cut off") != std::string::npos);
  CHECK(error("inspect --dtype int3 " + raw).find("int3") != std::string::npos);
  CHECK(error("inspect").find("FILE") != std::string::npos);
  CHECK(error("").find("required a command of artel data") != std::string::npos);
  CHECK(run("data inspect --dtype uint8 " + raw).exit_code == 0);
}

TEST_CASE("Of a model trained within documents, logits and generated text are those of each document apart") {
  const TemporaryDirectory directory;
  REQUIRE(run("train -c " + tiny_config(directory) + " --set data.document_mask=true --set train.steps=2").exit_code ==
          0);
  const auto logits = [&](const std::string& window) {
    std::ofstream(directory.file("window.bin"), std::ios::binary) << window;
    const ProgramOutcome outcome = run("eval --checkpoint " + directory.file("tiny") + " --data " +
                                       directory.file("window.bin") + " --logits " + directory.file("logits.npy"));
    INFO(outcome.errors);
    REQUIRE(outcome.exit_code == 0);
    const std::string bytes = read_file(directory.file("logits.npy"));
    std::vector<float> values(16 * 256);
    REQUIRE(bytes.size() == 128 + values.size() * sizeof(float));
    std::memcpy(values.data(), bytes.data() + 128, values.size() * sizeof(float));
    return values;
  };
  const std::vector<float> both = logits(std::string("abcd\0", 5) + "efghijklmnop");
  const std::vector<float> second = logits("efghijklmnopqrstu");
  for (std::size_t i = 0; i < 11 * 256; ++i) CHECK(both[5 * 256 + i] == Approx(second[i]).margin(1e-5));

  const auto generated = [&](const std::string& prompt) {
    std::ofstream(directory.file("prompt"), std::ios::binary) << prompt;
    return run("generate --temperature 0 --tokens 20 --ignore-end --checkpoint " + directory.file("tiny") +
               " --prompt-file " + directory.file("prompt"))
        .output;
  };
  CHECK(generated(std::string("xyz\0", 4) + "ab") == generated("ab"));
}

TEST_CASE("Tasks and bits per byte go from the config through the rows to eval and compare") {
  const TemporaryDirectory directory;
  std::ofstream(directory.file("quiz.jsonl"))
      << "{\"context\": \"ab\", \"completions\": [\"c\", \"de\"], \"label\": 1}\n";
  const std::string config = tiny_config(directory);
  const ProgramOutcome trained =
      run("train -c " + config + " --set 'validation.tasks=[{path: " + directory.file("quiz.jsonl") +
          "}]' --set data.document_mask=true");
  INFO(trained.errors);
  REQUIRE(trained.exit_code == 0);
  const std::string compared = run("compare " + directory.file("tiny")).output;
  CHECK(compared.find("bits per byte, tokens") != std::string::npos);
  CHECK(compared.find("quiz, accuracy per byte") != std::string::npos);

  const ProgramOutcome tasks =
      run("eval --checkpoint " + directory.file("tiny") + " --task " + directory.file("quiz.jsonl"));
  INFO(tasks.errors);
  const Json only = parse_json(tasks.output, "stdout");
  CHECK(only["tasks"]["quiz"]["examples"] == 1);
  CHECK_FALSE(only.contains("loss"));
  const ProgramOutcome both = run("eval --checkpoint " + directory.file("tiny") + " --task " +
                                  directory.file("quiz.jsonl") + " --data " + directory.file("tokens.bin"));
  const Json all = parse_json(both.output, "stdout");
  CHECK(all["tasks"] == only["tasks"]);
  CHECK(all["bits_per_byte"].get<double>() == Approx(all["loss"].get<double>() / 0.6931471805599453));
  std::ofstream(directory.file("bad.jsonl")) << "{\"context\": \"ab\"}\n";
  const ProgramOutcome bad =
      run("eval --checkpoint " + directory.file("tiny") + " --task " + directory.file("bad.jsonl"));
  CHECK(bad.exit_code == 1);
  CHECK(bad.errors.find("bad.jsonl:1") != std::string::npos);
  CHECK(num_lines(bad.errors) == 1);
}
