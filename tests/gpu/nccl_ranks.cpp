#include "comm/ranks_world.h"
#include "emulator/internal.h"
#include "emulator/nccl_control.h"
#include "support/emulator_options.h"

namespace artel {

void stop_stream(void* stream) {
  emulator::enqueue(static_cast<cudaStream_t>(stream), "nothing, for ever", [] { return false; });
}

void break_next_transfer() {
  emulator::break_next_nccl_operation(ncclRemoteError, 0.3);
}

}  // namespace artel

// One rank with an emulated GPU. What the emulator reports ends the cases (RanksWorld::take_reports); ranks that go
// wrong on purpose are told by Artel's errors, not by the emulator's.
int main(int argc, char** argv) {
  std::vector<char*> arguments = artel::take_emulator_options(argc, argv);
  emulator::config().collect = true;
  return artel::run_ranks_main(static_cast<int>(arguments.size()), arguments.data());
}
