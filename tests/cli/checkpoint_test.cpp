#include "cli/executable.h"

using namespace artel;

TEST_CASE("checkpoint diff tells equal runs from others by its exit code, in text and as JSON") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  REQUIRE(run("train -c " + config).exit_code == 0);
  REQUIRE(run("train -c " + config + " --set run.name=same").exit_code == 0);
  REQUIRE(run("train -c " + config + " --set run.name=other --set run.seed=7").exit_code == 0);
  REQUIRE(run("train -c " + config + " --set run.name=moe --set model.routing.type=softmax").exit_code == 0);
  const std::string first = directory.file("tiny");

  const ProgramOutcome same = run("checkpoint diff " + first + " " + directory.file("same"));
  CHECK(same.exit_code == 0);
  CHECK(same.output.find("run.name: \"tiny\" / \"same\"") != std::string::npos);
  CHECK(same.output.find("\nequal: step 8 and every bit of ") != std::string::npos);

  const ProgramOutcome other = run("checkpoint diff --json " + first + " " + directory.file("other"));
  CHECK(other.exit_code == 2);
  CHECK(other.errors.empty());
  const Json json = parse_json(other.output, "diff");
  CHECK(json["equal"] == false);
  CHECK(json["tensors"][0]["relative_l2"].is_number());
  CHECK(json["config"].size() == 2);

  const ProgramOutcome moe = run("checkpoint diff " + first + " " + directory.file("moe"));
  CHECK(moe.exit_code == 2);
  CHECK(moe.output.find("only in the second (") != std::string::npos);
  CHECK(moe.output.find("model.layers.0.mlp.gate.weight") != std::string::npos);
  CHECK(moe.output.find("model.routing.type: \"uoe\" / \"softmax\"") != std::string::npos);
  CHECK(moe.output.find("\ndifferent: ") != std::string::npos);

  // Two steps of one run; and what is no comparison at all.
  const std::string earlier = first + "/checkpoints/step-00000004";
  CHECK(run("checkpoint diff " + earlier + " " + first).output.find("different: step 4 and 8") != std::string::npos);
  CHECK(run("checkpoint diff " + first + " " + directory.file("missing")).exit_code == 1);
  CHECK(run("checkpoint diff " + first).exit_code == 1);
}
