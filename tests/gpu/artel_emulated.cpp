#include "cli/commands.h"
#include "support/emulator_options.h"

// artel, linked with the emulated GPU. The first report of the emulator ends the process.
int main(int argc, char** argv) {
  const std::vector<char*> arguments = artel::take_emulator_options(argc, argv);
  return artel::run_cli(static_cast<int>(arguments.size()), arguments.data());
}
