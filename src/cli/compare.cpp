#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/comparison_output.h"
#include "cli/option_checks.h"

namespace artel {
namespace {

struct CompareArguments {
  std::vector<std::string> runs;
  ComparisonOutput output;
};

}  // namespace

void add_compare_command(CLI::App& app) {
  auto arguments = std::make_shared<CompareArguments>();
  CLI::App* command = app.add_subcommand(
      "compare",
      "Compare runs: curves, tables, intervals. Runs that differ only in seed form a group; seeds that two groups "
      "share "
      "are paired. A difference is a - b: below zero, a has the lower loss and is better. With one seed there is a "
      "difference and no verdict. docs/reading_the_page.md says what every number means.");
  command->add_option("runs", arguments->runs, "Run directories; the first one's group is what others are compared to")
      ->required()
      ->check(not_empty());
  add_comparison_options(*command, arguments->output);
  command->callback([arguments] { show_comparison(arguments->runs, arguments->output); });
}

}  // namespace artel
