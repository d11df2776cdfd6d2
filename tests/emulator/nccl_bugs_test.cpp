#include <cmath>

#include "emulator/nccl_support.h"

using namespace emulator_tests;
using emulator::Streams;

// Bugs in the use of NCCL, each of which must be reported. Cases that need other ranks do nothing with one.

TEST_CASE("An all-gather and an all-reduce of one buffer on two streams are reported under every schedule") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  const bool waits = GENERATE(false, true);
  Session session(schedule.streams, schedule.seed);
  Communicator world;
  Communicator ring(world, 0, world_rank());
  Stream a;
  Stream b;
  DeviceArray<float> x(std::vector<float>(16, 1));
  DeviceArray<float> gathered(16 * static_cast<std::size_t>(world_size()));
  REQUIRE(ncclAllGather(x.data(), gathered.data(), 16, ncclFloat32, world, a) == ncclSuccess);
  if (waits) make_wait(b, a);
  REQUIRE(ncclAllReduce(x.data(), x.data(), 16, ncclFloat32, ncclSum, ring, b) == ncclSuccess);
  a.wait();
  b.wait();
  INFO(reports());
  REQUIRE(num_reported("ordering", {"ncclAllGather", "ncclAllReduce", "neither waits for the other"}) ==
          (waits ? 0 : 1));
  REQUIRE(emulator::errors().size() == (waits ? 0U : 1U));
}

TEST_CASE("Ranks that disagree about a collective are told by both, and nobody waits") {
  if (world_size() < 2) return;
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  const bool last = world_rank() == world_size() - 1;
  for (int what = 0; what < 4; ++what) {
    Communicator comm;
    Stream stream;
    DeviceArray<float> x(std::vector<float>(64, 1));
    DeviceArray<float> y(64);
    emulator::clear_errors();
    if (what == 3 && last) {
      REQUIRE(ncclReduceScatter(x.data(), y.data(), 8, ncclFloat32, ncclSum, comm, stream) == ncclSuccess);
    } else {
      const std::size_t count = what == 0 && last ? 9 : 8;
      const ncclDataType_t type = what == 1 && last ? ncclInt32 : ncclFloat32;
      const ncclRedOp_t reduction = what == 2 && last ? ncclMax : ncclSum;
      REQUIRE(ncclAllReduce(x.data(), y.data(), count, type, reduction, comm, stream) == ncclSuccess);
    }
    stream.wait();
    INFO(reports());
    const char* const expected[] = {"calls ncclAllReduce of 9 f32 (sum)", "calls ncclAllReduce of 8 i32 (sum)",
                                    "calls ncclAllReduce of 8 f32 (maximum)", "calls ncclReduceScatter of 8 f32 (sum)"};
    REQUIRE(num_reported("nccl", {"ranks disagree", "rank 0 calls ncclAllReduce of 8 f32 (sum)", expected[what]}) == 1);
    REQUIRE(emulator::errors().size() == 1);
    REQUIRE(std::isnan(y.values().at(0)));
    ncclResult_t status = ncclSuccess;
    REQUIRE(ncclCommGetAsyncError(comm, &status) == ncclSuccess);
    REQUIRE(status == ncclInvalidUsage);
  }
}

TEST_CASE("A receive of another count than was sent is reported and does not hang") {
  Session session(Streams::lazy);
  const int size = world_size();
  Communicator comm;
  Stream stream;
  DeviceArray<float> x(std::vector<float>(8, 1));
  DeviceArray<float> y(8);
  REQUIRE(ncclGroupStart() == ncclSuccess);
  REQUIRE(ncclSend(x.data(), 8, ncclFloat32, (world_rank() + 1) % size, comm, stream) == ncclSuccess);
  REQUIRE(ncclRecv(y.data(), 7, ncclFloat32, (world_rank() + size - 1) % size, comm, stream) == ncclSuccess);
  REQUIRE(ncclGroupEnd() == ncclSuccess);
  stream.wait();
  INFO(reports());
  REQUIRE(num_reported("nccl", {"calls ncclSend of 8 f32", "calls ncclRecv of 7 f32"}) == 1);
  REQUIRE(std::isnan(y.values().at(0)));
  MPI_Barrier(MPI_COMM_WORLD);  // a rank must not leave while another still sends to it
}

TEST_CASE("A group that is not ended is reported where the host waits") {
  Session session;
  Communicator comm;
  Stream stream;
  DeviceArray<float> x(std::vector<float>(4, 1));
  REQUIRE(ncclGroupStart() == ncclSuccess);
  REQUIRE(ncclAllReduce(x.data(), x.data(), 4, ncclFloat32, ncclSum, comm, stream) == ncclSuccess);
  stream.wait();
  REQUIRE(num_reported("nccl", {"cudaStreamSynchronize within a group", "1 calls have not been enqueued"}) == 1);
  REQUIRE(ncclGroupEnd() == ncclSuccess);
  stream.wait();
  REQUIRE(x.values()[0] == static_cast<float>(world_size()));
  REQUIRE(ncclGroupEnd() == ncclInvalidUsage);
  REQUIRE(num_reported("nccl", {"ncclGroupEnd without ncclGroupStart"}) == 1);
}

TEST_CASE("Bad arguments of NCCL are reported") {
  Session session;
  Communicator comm;
  Stream stream;
  float host[4] = {};
  DeviceArray<float> x(std::vector<float>(8, 1));
  REQUIRE(ncclAllReduce(host, x.data(), 4, ncclFloat32, ncclSum, comm, stream) == ncclInvalidArgument);
  REQUIRE(num_reported("nccl", {"ncclAllReduce", "send buffer in device memory"}) == 1);
  REQUIRE(ncclSend(x.data(), 4, ncclFloat32, world_size(), comm, stream) == ncclInvalidArgument);
  REQUIRE(num_reported("nccl", {"ncclSend", "required a rank"}) == 1);
  REQUIRE(ncclAllReduce(x.data(), x.data() + 2, 4, ncclFloat32, ncclSum, comm, stream) == ncclInvalidArgument);
  REQUIRE(num_reported("nccl", {"ncclAllReduce", "buffers apart"}) == 1);
  // Beyond the end of the allocation, on all ranks.
  REQUIRE(ncclAllReduce(x.data(), x.data(), 9, ncclFloat32, ncclSum, comm, stream) == ncclSuccess);
  stream.wait();
  REQUIRE(num_reported("memcheck", {"ncclAllReduce", "send buffer reaches beyond its allocation"}) == 1);
  REQUIRE(num_reported("nccl", {"with memory that it cannot use"}) == 1);
}

TEST_CASE("Memory that is freed while NCCL may still use it is reported") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  Communicator comm;
  Stream stream;
  void* x = nullptr;
  REQUIRE(cudaMalloc(&x, 16) == cudaSuccess);
  REQUIRE(cudaMemset(x, 0, 16) == cudaSuccess);
  REQUIRE(ncclAllReduce(x, x, 4, ncclFloat32, ncclSum, comm, stream) == ncclSuccess);
  REQUIRE(cudaFree(x) == cudaSuccess);
  INFO(reports());
  REQUIRE(num_reported("ordering", {"ncclAllReduce", "cudaFree"}) == 1);
}

TEST_CASE("A collective that other ranks do not join is reported, or aborted") {
  if (world_size() < 2) return;
  const bool aborts = GENERATE(true, false);
  Session session(Streams::lazy);
  emulator::config().stall_seconds = 0.5;
  Communicator comm;
  if (world_rank() == 0) {
    Stream stream;
    DeviceArray<float> x(std::vector<float>(4, 1));
    REQUIRE(ncclAllReduce(x.data(), x.data(), 4, ncclFloat32, ncclSum, comm, stream) == ncclSuccess);
    if (aborts) {
      for (int i = 0; i < 100; ++i) REQUIRE(cudaStreamQuery(stream) == cudaErrorNotReady);
      comm.abort();
      stream.wait();
      REQUIRE(emulator::errors().empty());
    } else {
      stream.wait();
      REQUIRE(num_reported("stream", {"cudaStreamSynchronize: nothing has moved for 0.5 s",
                                      "waiting: ncclAllReduce (rank 0 of"}) == 1);
    }
  }
  if (comm != nullptr) comm.abort();
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST_CASE("MPI with device memory, or with the target of a copy that has not been waited for, is reported") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  DeviceArray<int> x(std::vector<int>{1});
  PinnedArray<int> host(1);
  {
    Stream stream;
    REQUIRE(cudaMemcpyAsync(host.data(), x.data(), 4, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    int sum = 0;
    MPI_Allreduce(host.data(), &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    stream.wait();
    MPI_Allreduce(host.data(), &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    REQUIRE(sum == world_size());
  }
  INFO(reports());
  REQUIRE(num_reported("ordering", {"MPI_Allreduce", "cudaMemcpyAsync (device to host) on stream"}) == 1);
  REQUIRE(emulator::errors().size() == 1);
  int sum = 0;
  MPI_Allreduce(x.data(), &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  REQUIRE(num_reported("memcheck", {"MPI_Allreduce", "found device memory"}) == 1);
}
