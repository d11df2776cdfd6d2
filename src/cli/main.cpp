#include "cli/commands.h"

int main(int argc, char** argv) {
  return artel::run_cli(argc, argv);
}
