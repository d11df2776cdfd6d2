#include "cli/executable.h"

namespace artel {
namespace {

std::size_t num_lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST_CASE("inspect routing gives JSON, a page and every token's choices, and compares two checkpoints", "[slow]") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  REQUIRE(run("train -c " + config).exit_code == 0);
  const std::string checkpoints = directory.file("tiny/checkpoints/");
  const std::string texts = " --data " + directory.file("tokens.bin");
  const ProgramOutcome outcome = run("inspect routing --checkpoint " + directory.file("tiny") + texts + " --other " +
                                     checkpoints + "step-00000004 --batches 3 --tokens 2 --json -o " +
                                     directory.file("page.html") + " --choices " + directory.file("choices.jsonl"));
  INFO(outcome.errors);
  REQUIRE(outcome.exit_code == 0);
  const Json json = parse_json(outcome.output, "inspect");
  CHECK(json["step"] == 8);
  CHECK(json["other_step"] == 4);
  CHECK(json["tokens"] == 3 * 2 * 16);
  REQUIRE(json["layers"].size() == 1);
  const Json& layer = json["layers"][0];
  CHECK(layer["load"].size() == 4);
  CHECK(layer["shared_expert"]["kind"] == "virtual");
  CHECK(layer["scores_against"]["activation"]["rank_correlation"].is_number());
  CHECK(layer["assignments_kept"].get<double>() > 0.5);
  CHECK(json["loss_without_shared_expert"].is_number());
  CHECK(json["choices"].size() == 2);
  CHECK(num_lines(read_file(directory.file("choices.jsonl"))) == 3 * 2 * 16);
  CHECK(read_file(directory.file("page.html")).find("Routing of tiny") != std::string::npos);
}

TEST_CASE("inspect routing says in one line what it cannot do") {
  const TemporaryDirectory directory;
  const ProgramOutcome missing = run("inspect routing --checkpoint " + directory.file("none"));
  CHECK(missing.exit_code == 1);
  CHECK(num_lines(missing.errors) == 1);
  CHECK(missing.errors.find("required a checkpoint or a run directory") != std::string::npos);
  const ProgramOutcome bad = run("inspect routing --checkpoint x --batches -1");
  CHECK(bad.exit_code == 1);
  CHECK(num_lines(bad.errors) == 1);
}

}  // namespace
}  // namespace artel
