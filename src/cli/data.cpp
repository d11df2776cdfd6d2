#include <CLI/CLI.hpp>

#include "cli/commands.h"

namespace artel {

void add_data_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("data", "Look at token files and make them");
  command->require_subcommand(1);
  add_data_inspect_command(*command);
  add_data_tokenize_command(*command);
}

}  // namespace artel
