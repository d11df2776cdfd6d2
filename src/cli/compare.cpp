#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "report/comparison.h"
#include "util/files.h"

namespace artel {
namespace {

struct CompareArguments {
  std::vector<std::string> runs;
  std::string output;
  std::optional<double> margin;
  bool json = false;
};

void compare(const CompareArguments& arguments) {
  std::vector<Run> runs;
  for (const std::string& directory : arguments.runs) runs.push_back(read_run(directory));
  CompareOptions options;
  options.equivalence_margin = arguments.margin;
  const Comparison comparison = compare_runs(std::move(runs), options);
  if (!arguments.output.empty()) {
    PosixFileLayer files;
    write_file_atomic(files, arguments.output, comparison_html(comparison));
  }
  print(arguments.json ? dump_json(comparison_json(comparison), 2) + "\n" : comparison_table(comparison));
}

}  // namespace

void add_compare_command(CLI::App& app) {
  auto arguments = std::make_shared<CompareArguments>();
  CLI::App* command =
      app.add_subcommand("compare", "Compare runs: curves, tables, intervals; runs that differ in seed form a group");
  command->add_option("runs", arguments->runs, "Run directories")->required();
  command->add_option("-o,--output", arguments->output, "Write the comparison as one self-contained HTML page");
  command->add_option("--margin", arguments->margin, "Also test for equivalence within this many nats");
  command->add_flag("--json", arguments->json, "Print JSON instead of tables");
  command->callback([arguments] { compare(*arguments); });
}

}  // namespace artel
