#pragma once

#include <cstdint>
#include <vector>

// Command-line options of executables that run on the emulated GPU:
//   --emulator-seed N
//   --emulator-order ascending|random|descending    of threads in a block and of blocks
//   --emulator-streams eager|lazy|random            when what is enqueued runs
//   --emulator-devices N                            GPUs that the machine has, for ranks of one host
//   --emulator-preempt CHANCE                       that another thread goes on at an access to memory (checking build)

namespace artel {

/// Sets emulator::config() from the options and returns the other arguments, the first of all included. Ends the
/// process with a message if a value makes no sense.
std::vector<char*> take_emulator_options(int argc, char** argv);

}  // namespace artel
