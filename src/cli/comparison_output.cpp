#include "cli/comparison_output.h"

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/option_checks.h"
#include "report/comparison.h"
#include "util/files.h"

namespace artel {

void add_comparison_options(CLI::App& command, ComparisonOutput& output) {
  command.add_option("-o,--output", output.page, "Write the comparison as one self-contained HTML page")
      ->check(not_empty());
  command.add_option("--margin", output.margin,
                     "Also test for equivalence: whether the difference is shown to be smaller than this many nats");
  command.add_flag("--json", output.json, "Print JSON instead of tables");
}

void show_comparison(const std::vector<std::string>& run_directories, const ComparisonOutput& output) {
  if (!output.page.empty()) require_output("--output", output.page);
  std::vector<Run> runs;
  for (const std::string& directory : run_directories) runs.push_back(read_run(directory));
  CompareOptions options;
  options.equivalence_margin = output.margin;
  const Comparison comparison = compare_runs(std::move(runs), options);
  print(output.json ? dump_json(comparison_json(comparison), 2) + "\n" : comparison_table(comparison));
  if (!output.page.empty()) {
    PosixFileLayer files;
    write_file_atomic(files, output.page, comparison_html(comparison));
  }
}

}  // namespace artel
