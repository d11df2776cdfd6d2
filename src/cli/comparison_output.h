#pragma once

#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace artel {

/// How a comparison is shown: what `compare` and the end of `sweep` share.
struct ComparisonOutput {
  std::string page;              ///< file for the HTML page; empty: none
  std::optional<double> margin;  ///< of the equivalence test, nats
  bool json = false;             ///< JSON on standard output instead of tables
};

/// Adds -o, --margin and --json.
void add_comparison_options(CLI::App& command, ComparisonOutput& output);

/// Compares the runs in these directories and shows the outcome. Errors: those of read_run and compare_runs; a page
/// that cannot be written.
void show_comparison(const std::vector<std::string>& run_directories, const ComparisonOutput& output);

}  // namespace artel
