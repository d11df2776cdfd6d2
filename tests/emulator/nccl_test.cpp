#include <cuda_bf16.h>
#include <mpi.h>
#include <nccl.h>

#include <cmath>
#include <cstring>

#include "emulator/nccl_control.h"
#include "emulator/planted/host.h"
#include "emulator/runtime_support.h"

// Runs on every rank of mpirun (nccl_main.cpp); with one rank, what needs others is left out.
using namespace emulator_tests;
using emulator::Streams;

namespace {

int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

int world_size() {
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

template <class T>
T element(int x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16(static_cast<float>(x));
  } else {
    return static_cast<T>(x);
  }
}
template <class T>
int number(T x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return static_cast<int>(__bfloat162float(x));
  } else {
    return static_cast<int>(x);
  }
}

template <class T>
constexpr ncclDataType_t type_of() {
  if constexpr (std::is_same_v<T, float>) return ncclFloat32;
  if constexpr (std::is_same_v<T, double>) return ncclFloat64;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) return ncclBfloat16;
  if constexpr (std::is_same_v<T, std::int32_t>) return ncclInt32;
  if constexpr (std::is_same_v<T, std::int64_t>) return ncclInt64;
  return ncclUint8;
}

/// What rank r has at i.
int value(int r, int i) {
  return (r * 3 + i) % 7;
}

template <class T>
std::vector<T> values_of(int r, int count) {
  std::vector<T> values;
  for (int i = 0; i < count; ++i) values.push_back(element<T>(value(r, i)));
  return values;
}

int sum_over_ranks(int i) {
  int sum = 0;
  for (int r = 0; r < world_size(); ++r) sum += value(r, i);
  return sum;
}

}  // namespace

TEMPLATE_TEST_CASE("Collectives give what they are defined to give", "", float, double, __nv_bfloat16, std::int32_t,
                   std::int64_t, std::uint8_t) {
  using T = TestType;
  const int rank = world_rank();
  const int size = world_size();
  constexpr int n = 5;
  constexpr ncclDataType_t type = type_of<T>();
  Session session(Streams::random, 7);
  Communicator comm;
  Stream stream;
  DeviceArray<T> x(values_of<T>(rank, n * size));
  DeviceArray<T> sums(static_cast<std::size_t>(n * size));
  DeviceArray<T> largest(static_cast<std::size_t>(n * size));
  DeviceArray<T> part(static_cast<std::size_t>(n));
  DeviceArray<T> all(static_cast<std::size_t>(n * size));
  DeviceArray<T> of_last(static_cast<std::size_t>(n));
  const auto count = static_cast<std::size_t>(n * size);
  REQUIRE(ncclAllReduce(x.data(), sums.data(), count, type, ncclSum, comm, stream) == ncclSuccess);
  REQUIRE(ncclAllReduce(x.data(), largest.data(), count, type, ncclMax, comm, stream) == ncclSuccess);
  REQUIRE(ncclReduceScatter(x.data(), part.data(), n, type, ncclSum, comm, stream) == ncclSuccess);
  REQUIRE(ncclAllGather(x.data(), all.data(), n, type, comm, stream) == ncclSuccess);
  REQUIRE(ncclBroadcast(x.data(), of_last.data(), n, type, size - 1, comm, stream) == ncclSuccess);
  stream.wait();
  INFO(reports());
  REQUIRE(emulator::errors().empty());
  const auto found_sums = sums.values();
  const auto found_largest = largest.values();
  for (int i = 0; i < n * size; ++i) {
    REQUIRE(number(found_sums[static_cast<std::size_t>(i)]) == sum_over_ranks(i));
    int expected = 0;
    for (int r = 0; r < size; ++r) expected = std::max(expected, value(r, i));
    REQUIRE(number(found_largest[static_cast<std::size_t>(i)]) == expected);
    REQUIRE(number(all.values()[static_cast<std::size_t>(i)]) == value(i / n, i % n));
  }
  for (int i = 0; i < n; ++i) {
    REQUIRE(number(part.values()[static_cast<std::size_t>(i)]) == sum_over_ranks(rank * n + i));
    REQUIRE(number(of_last.values()[static_cast<std::size_t>(i)]) == value(size - 1, i));
  }
}

TEST_CASE("Collectives work in place and give every rank the same bits") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  const int rank = world_rank();
  const auto size = static_cast<std::size_t>(world_size());
  Communicator comm;
  Stream stream;
  // Sums of these depend on their order.
  DeviceArray<float> x(std::vector<float>(4, rank == 0 ? 1.0e8F : 1.1F));
  REQUIRE(ncclAllReduce(x.data(), x.data(), 4, ncclFloat32, ncclSum, comm, stream) == ncclSuccess);
  DeviceArray<float> all(4 * size);
  float* const own = all.data() + 4 * rank;
  REQUIRE(cudaMemcpyAsync(own, x.data(), 16, cudaMemcpyDeviceToDevice, stream) == cudaSuccess);
  REQUIRE(ncclAllGather(own, all.data(), 4, ncclFloat32, comm, stream) == ncclSuccess);
  DeviceArray<float> average(std::vector<float>(4 * size, static_cast<float>(rank)));
  REQUIRE(ncclReduceScatter(average.data(), average.data() + 4 * rank, 4, ncclFloat32, ncclAvg, comm, stream) ==
          ncclSuccess);
  stream.wait();
  INFO(reports());
  REQUIRE(emulator::errors().empty());
  const auto found = all.values();
  for (const float one : found) REQUIRE(std::memcmp(&one, &found[0], sizeof one) == 0);
  REQUIRE(average.values()[static_cast<std::size_t>(4 * rank)] == static_cast<float>(size - 1) / 2);
}

TEST_CASE("Groups of sends and receives exchange ragged and empty pieces under every schedule") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  const int rank = world_rank();
  const int size = world_size();
  // Rank r sends (r + 2 * to) % 4 elements to rank `to`.
  const auto count = [](int from, int to) { return static_cast<std::size_t>((from + 2 * to) % 4); };
  Communicator comm;
  Stream stream;
  DeviceArray<float> sent(values_of<float>(rank, 4 * size));
  DeviceArray<float> received(static_cast<std::size_t>(4 * size));
  for (int round = 0; round < 3; ++round) {
    REQUIRE(ncclGroupStart() == ncclSuccess);
    for (int peer = 0; peer < size; ++peer) {
      REQUIRE(ncclSend(sent.data() + 4 * peer, count(rank, peer), ncclFloat32, peer, comm, stream) == ncclSuccess);
      REQUIRE(ncclRecv(received.data() + 4 * peer, count(peer, rank), ncclFloat32, peer, comm, stream) == ncclSuccess);
    }
    REQUIRE(ncclGroupEnd() == ncclSuccess);
  }
  stream.wait();
  INFO(reports());
  REQUIRE(emulator::errors().empty());
  for (int peer = 0; peer < size; ++peer) {
    for (std::size_t i = 0; i < count(peer, rank); ++i) {
      REQUIRE(received.data()[4 * peer + static_cast<int>(i)] ==
              static_cast<float>(value(peer, 4 * rank + static_cast<int>(i))));
    }
    // Elements that nobody sent are left alone.
    for (std::size_t i = count(peer, rank); i < 4; ++i) {
      REQUIRE(std::isnan(received.data()[4 * peer + static_cast<int>(i)]));
    }
  }
}

TEST_CASE("Parts of a communicator and two streams go on beside each other under every schedule") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  const int rank = world_rank();
  const int size = world_size();
  Communicator world;
  Communicator part(world, rank % 2, -rank);
  int part_size = 0;
  int part_rank = -1;
  REQUIRE(ncclCommCount(part, &part_size) == ncclSuccess);
  REQUIRE(ncclCommUserRank(part, &part_rank) == ncclSuccess);
  REQUIRE(part_size == (size + 1 - rank % 2) / 2);
  REQUIRE(part_rank == part_size - 1 - rank / 2);  // keys fall
  Stream a;
  Stream b;
  DeviceArray<float> x(std::vector<float>(8, 1));
  DeviceArray<float> y(std::vector<float>(8, 1));
  DeviceArray<float> z(8);
  for (int round = 0; round < 3; ++round) {
    // Ranks enqueue on the streams in different orders.
    for (const int which : {rank % 2, 1 - rank % 2}) {
      if (which == 0) {
        REQUIRE(ncclAllReduce(x.data(), x.data(), 8, ncclFloat32, ncclSum, world, a) == ncclSuccess);
      } else {
        REQUIRE(ncclAllReduce(y.data(), y.data(), 8, ncclFloat32, ncclSum, part, b) == ncclSuccess);
      }
    }
  }
  make_wait(b, a);
  REQUIRE(cudaMemcpyAsync(z.data(), x.data(), 16, cudaMemcpyDeviceToDevice, b) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(z.data() + 4, y.data(), 16, cudaMemcpyDeviceToDevice, b) == cudaSuccess);
  b.wait();
  INFO(reports());
  REQUIRE(emulator::errors().empty());
  REQUIRE(z.data()[0] == static_cast<float>(size * size * size));
  REQUIRE(z.data()[4] == static_cast<float>(part_size * part_size * part_size));
  Communicator none(world, rank == 0 ? NCCL_SPLIT_NOCOLOR : 0, rank);
  REQUIRE((none == nullptr) == (rank == 0));
}

TEST_CASE("Operations of one communicator match by the order of their calls, whatever the order of streams") {
  const std::uint64_t seed = GENERATE(1, 2, 3, 4, 5, 6);
  Session session(Streams::random, seed * 10 + static_cast<std::uint64_t>(world_rank()));
  Communicator comm;
  Stream a;
  Stream b;
  DeviceArray<float> x(std::vector<float>(4, 1));
  DeviceArray<float> y(std::vector<float>(4, 10));
  REQUIRE(ncclAllReduce(x.data(), x.data(), 4, ncclFloat32, ncclSum, comm, a) == ncclSuccess);
  REQUIRE(ncclAllReduce(y.data(), y.data(), 4, ncclFloat32, ncclSum, comm, b) == ncclSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  REQUIRE(x.data()[0] == static_cast<float>(world_size()));
  REQUIRE(y.data()[0] == static_cast<float>(10 * world_size()));
  REQUIRE(emulator::errors().empty());
}

TEST_CASE("A host that waits in MPI takes part in what its streams still have to do") {
  if (world_size() < 2) return;
  Session session(Streams::lazy);
  Communicator comm;
  Stream stream;
  DeviceArray<float> x(std::vector<float>(4, 1));
  REQUIRE(ncclAllReduce(x.data(), x.data(), 4, ncclFloat32, ncclSum, comm, stream) == ncclSuccess);
  // Rank 0 waits in MPI for the others, each of which waits for rank 0's part of the sum.
  if (world_rank() == 0) {
    std::vector<int> received(static_cast<std::size_t>(world_size()));
    for (int peer = 1; peer < world_size(); ++peer) {
      int* const target = &received[static_cast<std::size_t>(peer)];
      if (peer % 2 == 1) {
        MPI_Recv(target, 1, MPI_INT, peer, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      } else {
        MPI_Request request = MPI_REQUEST_NULL;
        MPI_Irecv(target, 1, MPI_INT, peer, 3, MPI_COMM_WORLD, &request);
        MPI_Wait(&request, MPI_STATUS_IGNORE);
      }
      REQUIRE(*target == peer);
    }
  } else {
    stream.wait();
    const int rank = world_rank();
    MPI_Send(&rank, 1, MPI_INT, 0, 3, MPI_COMM_WORLD);
  }
  // The same with each collective of the host.
  for (int call = 0; call < 6; ++call) {
    REQUIRE(ncclAllReduce(x.data(), x.data(), 4, ncclFloat32, ncclMax, comm, stream) == ncclSuccess);
    if (world_rank() != 0) stream.wait();
    int one = 1;
    int sum = 0;
    std::vector<int> all(static_cast<std::size_t>(world_size()));
    const std::vector<int> ones(all.size(), 1);
    switch (call) {
      case 0:
        MPI_Barrier(MPI_COMM_WORLD);
        break;
      case 1:
        MPI_Bcast(&one, 1, MPI_INT, 0, MPI_COMM_WORLD);
        break;
      case 2:
        MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        break;
      case 3:
        MPI_Allgather(&one, 1, MPI_INT, all.data(), 1, MPI_INT, MPI_COMM_WORLD);
        break;
      case 4:
        MPI_Alltoall(ones.data(), 1, MPI_INT, all.data(), 1, MPI_INT, MPI_COMM_WORLD);
        break;
      default: {
        MPI_Comm copy = MPI_COMM_NULL;
        MPI_Comm_split(MPI_COMM_WORLD, 0, 0, &copy);
        MPI_Comm_free(&copy);
      }
    }
    if (call == 2) REQUIRE(sum == world_size());
    if (call == 3 || call == 4) REQUIRE(all == ones);
  }
  REQUIRE(x.values()[0] == static_cast<float>(world_size()));
  INFO(reports());
  REQUIRE(emulator::errors().empty());
}

TEST_CASE("A communicator that does not block is in progress until it is polled") {
  Session session;
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  Communicator comm(&config);
  Stream stream;
  DeviceArray<float> x(std::vector<float>(4, 1));
  REQUIRE(ncclAllReduce(x.data(), x.data(), 4, ncclFloat32, ncclSum, comm, stream) == ncclInvalidUsage);
  REQUIRE(num_reported("nccl", {"ncclAllReduce", "still in progress"}) == 1);
  const auto poll = [&] {
    ncclResult_t status = ncclInProgress;
    int num_polls = 0;
    for (; status == ncclInProgress; ++num_polls) REQUIRE(ncclCommGetAsyncError(comm, &status) == ncclSuccess);
    REQUIRE(status == ncclSuccess);
    REQUIRE(num_polls == 2);
  };
  poll();
  REQUIRE(ncclAllReduce(x.data(), x.data(), 4, ncclFloat32, ncclSum, comm, stream) == ncclInProgress);
  poll();
  stream.wait();
  REQUIRE(x.values()[0] == static_cast<float>(world_size()));
  emulator::set_nccl_async_error(comm, ncclRemoteError);
  ncclResult_t status = ncclSuccess;
  REQUIRE(ncclCommGetAsyncError(comm, &status) == ncclSuccess);
  REQUIRE(status == ncclRemoteError);
  REQUIRE(ncclAllReduce(x.data(), x.data(), 4, ncclFloat32, ncclSum, comm, stream) == ncclRemoteError);
}

// ---- Planted bugs ----

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
    REQUIRE(std::isnan(y.data()[0]));
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
  REQUIRE(std::isnan(y.data()[0]));
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
