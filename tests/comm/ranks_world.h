#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"

namespace artel {

/// The communicator that mpi_ranks and nccl_ranks test: that of MPI, or one of GPUs that is started from it.
class RanksWorld {
 public:
  virtual ~RanksWorld() = default;
  virtual Communicator& world() = 0;
  /// What a checker of the device has found; empty if nothing, or without one.
  virtual std::string take_reports() = 0;
  /// From now on nothing that is put on this rank's device is carried out, while the rank itself goes on.
  virtual void stop_device() = 0;
  /// The next transfer between GPUs that starts never ends on this rank, and its library says so 0.3 s later.
  virtual void break_transfer() = 0;
};

/// Which one is a matter of linking.
std::unique_ptr<RanksWorld> make_ranks_world(Communicator& host);

/// Of a world of GPUs: the emulated stream stands still (tests/gpu/nccl_ranks.cpp).
void stop_stream(void* stream);
/// The emulated network fails in the next transfer.
void break_next_transfer();

/// main() of one rank (mpi_ranks.cpp).
int run_ranks_main(int argc, char** argv);

}  // namespace artel
