#include "cli/executable.h"

// Files that a command writes at its end: whether they can be written is found out at its beginning.

using namespace artel;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("A file that cannot be written is found out before any work, and nothing is left behind") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  const std::string tokens = directory.file("tokens.bin");
  PosixFileLayer files;
  files.make_directory(directory.file("there"));
  const std::vector<std::string> before = files.list(directory.path());
  const std::string nowhere = directory.file("nowhere/x"), there = directory.file("there");
  for (const std::string& output : {nowhere, there, tokens + "/x"}) {
    // What the commands would read is not there: the output is looked at first.
    for (const std::string& arguments :
         {"eval --checkpoint missing --logits " + output, "compare missing -o " + output,
          "sweep -c " + config + " --seeds 1 -o " + output, "bench -c " + config + " --profile " + output,
          "inspect routing --checkpoint missing -o " + output, "tokenizer train missing -o " + output}) {
      const ProgramOutcome outcome = run(arguments);
      INFO(arguments << ": " << outcome.errors);
      CHECK(outcome.exit_code == 1);
      CHECK(contains(outcome.errors, "required the path of a file to write, found "));
      CHECK(contains(outcome.errors, "; give a file in a directory that is there"));
    }
  }
  CHECK(contains(run("compare missing -o " + nowhere).errors, "found no directory " + directory.file("nowhere")));
  CHECK(contains(run("compare missing -o " + there).errors, "found the directory " + there));
  CHECK(contains(run("compare missing -o " + tokens + "/x").errors, tokens + ", which is no directory"));
  CHECK(contains(run("compare missing -o /dev/null").errors, "/dev/null, which is no regular file"));
  CHECK(files.list(directory.path()) == before);
}

TEST_CASE("Results are printed although the file beside them fails, and of that file nothing stays") {
  const TemporaryDirectory directory;
  const std::string config = tiny_config(directory);
  REQUIRE(run("train -c " + config).exit_code == 0);
  const std::string tiny = directory.file("tiny"), page = directory.file("page");
  // A directory where the temporary file would be made stands for every failure at the end.
  PosixFileLayer files;
  files.make_directory(page + ".tmp/kept");
  for (const std::string& arguments :
       {"eval --batches 1 --checkpoint " + tiny + " --logits " + page, "compare --json " + tiny + " -o " + page,
        "inspect routing --json --batches 1 --checkpoint " + tiny + " -o " + page}) {
    const ProgramOutcome outcome = run(arguments);
    INFO(arguments << ": " << outcome.errors);
    CHECK(outcome.exit_code == 1);
    CHECK(parse_json(outcome.output, "output").is_object());
    CHECK(num_lines(outcome.errors) >= 1);
    CHECK_FALSE(files.exists(page));
    CHECK(files.exists(page + ".tmp/kept"));  // what is somebody else's stays
  }
}
