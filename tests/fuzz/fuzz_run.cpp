#include <filesystem>

#include "fuzz/fuzz.h"
#include "report/comparison.h"
#include "report/markup_check.h"
#include "report/run_reader.h"
#include "support/temporary_directory.h"

// A run directory: the first line of the input is summary.json, the others are metrics.jsonl. A run that is read is
// compared with two more like it, and shown.

using namespace artel;

namespace {

void compare_and_show(const Run& run, bool with_page) {
  Run seed = run;
  seed.directory += "-seed";
  seed.seed = run.seed == 0 ? 1 : 0;
  for (ValidationRow& row : seed.validation) row.val_loss *= 1.01;
  Run other = run;
  other.directory += "-other";
  other.name += "-other";
  other.precision += "-other";
  const Comparison comparison = compare_runs({run, seed, other}, CompareOptions{.equivalence_margin = 0.01});
  check(comparison.differences.size() == 1, "two groups have one difference");
  dump_json(comparison_json(comparison));
  check(!comparison_table(comparison).empty(), "a comparison has a table");
  if (!with_page) return;
  const std::string error = markup_error(comparison_html(comparison));
  check(error.empty(), error);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TemporaryDirectory directory;
  const std::string text = text_of(data, size);
  const size_t line_end = std::min(text.find('\n'), text.size());
  write_bytes(directory.file("summary.json"), text.substr(0, line_end));
  write_bytes(directory.file("metrics.jsonl"), std::string_view(text).substr(std::min(line_end + 1, text.size())));
  refusal_of([&] {
    const Run run = read_run(directory.path());
    compare_and_show(run, size % 4 == 0);
  });
  return 0;
}
