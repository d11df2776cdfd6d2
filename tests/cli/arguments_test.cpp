#include "cli/executable.h"

// Command lines that say something else than what was meant.

using namespace artel;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// One line, exit code 1, nothing on standard output.
void expect_refused(const std::string& arguments, const std::vector<std::string>& parts) {
  const ProgramOutcome outcome = run(arguments);
  INFO(arguments << ": " << outcome.errors);
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.output.empty());
  CHECK(num_lines(outcome.errors) == 1);
  CHECK(outcome.errors.size() < 400);
  for (const std::string& part : parts) {
    INFO(part);
    CHECK(contains(outcome.errors, part));
  }
}

}  // namespace

TEST_CASE("An empty --resume leaves a finished run as it is") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  REQUIRE(run("train -c " + config).exit_code == 0);
  const std::string metrics = contents(directory.file("tiny/metrics.jsonl"));
  expect_refused("train -c " + config + " --resume \"$ARTEL_TEST_UNSET\"",
                 {"--resume: required auto, never or the path of a checkpoint, found an empty text; is a shell"});
  CHECK(contents(directory.file("tiny/metrics.jsonl")) == metrics);
  CHECK(contents(directory.file("tiny/checkpoints/latest")) == "step-00000008\n");
}

TEST_CASE("An option that names a file does not take an empty text for one that was left out") {
  for (const char* arguments : {"train -c ''",
                                "eval --checkpoint ''",
                                "eval --checkpoint x --data ''",
                                "eval --checkpoint x --task ''",
                                "eval --checkpoint x --logits ''",
                                "compare ''",
                                "compare x -o ''",
                                "sweep -c '' --seeds 1",
                                "sweep -c x --seeds 1 -o ''",
                                "describe -c ''",
                                "checkpoint info ''",
                                "checkpoint verify ''",
                                "checkpoint diff x ''",
                                "bench -c ''",
                                "bench -c x --profile ''",
                                "inspect routing --checkpoint ''",
                                "inspect routing --checkpoint x --data ''",
                                "inspect routing --checkpoint x --other ''",
                                "inspect routing --checkpoint x --choices ''",
                                "inspect routing --checkpoint x -o ''",
                                "generate --checkpoint '' --prompt x",
                                "generate --checkpoint x --prompt-file ''",
                                "tokenizer train '' -o x",
                                "tokenizer train x -o ''",
                                "tokenizer decode -t bytes ''",
                                "tokenizer encode -t '' x",
                                "data inspect ''",
                                "data inspect x --tokenizer ''",
                                "data tokenize x -t bytes -o ''",
                                "data tokenize x -t '' -o y",
                                "export --checkpoint '' --output x",
                                "export --checkpoint x --output ''",
                                "export --checkpoint x --output y --tokenizer ''",
                                "import --from '' --output x",
                                "import --from x --output ''",
                                "import --from x --output y -c ''"}) {
    expect_refused(arguments, {"found an empty text; is a shell variable unset?"});
  }
}

TEST_CASE("A number out of its range is named with the range, in a line that can be read") {
  const std::string billions = "to 1000000000000, found ";
  expect_refused("bench -c x --steps 0", {"--steps: required an integer from 1 " + billions + "0"});
  expect_refused("train -c x --profile -1", {"--profile: required an integer from 1 " + billions + "-1"});
  expect_refused("describe -c x --ranks 1.5", {"--ranks: required an integer from 1 " + billions + "1.5"});
  expect_refused("generate --checkpoint x --prompt y --tokens 99999999999999999999",
                 {"--tokens: required an integer from 1 " + billions + "99999999999999999999"});
  expect_refused("generate --checkpoint x --prompt y --top-k -3", {"--top-k: required an integer from 0 "});
  expect_refused("generate --checkpoint x --prompt y --seed -1",
                 {"--seed: required an integer from 0 to 9223372036854775807, found -1"});
  expect_refused("eval --checkpoint x --batches 99999999999999999999", {"--batches: required an integer from 0 "});
  expect_refused("eval --checkpoint x --task-examples ten", {"--task-examples: ", "found ten"});
  expect_refused("inspect routing --checkpoint x --dense-tokens 1e3", {"--dense-tokens: ", "found 1e3"});
  expect_refused("tokenizer train x -o y --min-frequency ''", {"--min-frequency: ", "found an empty text"});
  expect_refused("data tokenize x -t bytes -o y --shard-tokens 0", {"--shard-tokens: ", "found 0"});
}

TEST_CASE("An unknown command or option is named, with the nearest that there is and the help of its command") {
  expect_refused("trian -c x", {"artel: required a command of artel (train, eval,", "found trian; did you mean train?",
                                "; see artel --help"});
  expect_refused("", {"required a command of artel", "found none; see artel --help"});
  expect_refused("zebra", {"found zebra; see artel --help"});
  expect_refused("--versoin", {"required an option of artel, found --versoin; did you mean --version?"});
  expect_refused("checkpoint", {"required a command of artel checkpoint (info, verify, diff), found none; see artel "
                                "checkpoint --help"});
  expect_refused("checkpoint verfy x", {"found verfy; did you mean verify?; see artel checkpoint --help"});
  expect_refused("train -c x --hlep", {"required an option of artel train, found --hlep; did you mean --help?; see "
                                       "artel train --help"});
  expect_refused("train --confg x.yaml", {"found --confg; did you mean --config?"});
  expect_refused("train --confg=x.yaml", {"found --confg=x.yaml; did you mean --config?"});
  expect_refused("train -c x more", {"required no further argument of artel train, found more; see artel train"});
  expect_refused("train", {"--config is required; see artel train --help"});
  expect_refused("bench -c x --steps 0", {"; see artel bench --help"});
  expect_refused("tokenizer encode --txt x -t bytes", {"option of artel tokenizer encode, found --txt; did you mean"});
}
