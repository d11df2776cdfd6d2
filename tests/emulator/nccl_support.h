#pragma once

#include <mpi.h>
#include <nccl.h>

#include "emulator/runtime_support.h"

// What the tests of NCCL share. They run on every rank of mpirun (nccl_main.cpp).
namespace emulator_tests {

inline int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

inline int world_size() {
  int size = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

class Communicator {
 public:
  /// Over all ranks.
  explicit Communicator(ncclConfig_t* config = nullptr) {
    ncclUniqueId id{};
    if (world_rank() == 0) REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
    MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
    const ncclResult_t expected = config != nullptr && config->blocking == 0 ? ncclInProgress : ncclSuccess;
    REQUIRE(ncclCommInitRankConfig(&comm_, world_size(), id, world_rank(), config) == expected);
  }
  Communicator(const Communicator& parent, int color, int key) {
    REQUIRE(ncclCommSplit(parent, color, key, &comm_, nullptr) == ncclSuccess);
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  ~Communicator() {
    if (comm_ != nullptr) ncclCommDestroy(comm_);
  }
  void abort() {
    REQUIRE(ncclCommAbort(comm_) == ncclSuccess);
    comm_ = nullptr;
  }
  operator ncclComm_t() const { return comm_; }

 private:
  ncclComm_t comm_ = nullptr;
};

}  // namespace emulator_tests
