#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "emulator/nccl_control.h"
#include "emulator/nccl_support.h"

using namespace emulator_tests;
using emulator::Streams;

namespace {

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
  const std::vector<float> values = received.values();
  for (int peer = 0; peer < size; ++peer) {
    const auto first = static_cast<std::size_t>(4 * peer);
    for (std::size_t i = 0; i < count(peer, rank); ++i) {
      REQUIRE(values[first + i] == static_cast<float>(value(peer, 4 * rank + static_cast<int>(i))));
    }
    // Elements that nobody sent are left alone.
    for (std::size_t i = count(peer, rank); i < 4; ++i) REQUIRE(std::isnan(values[first + i]));
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
  REQUIRE(z.values().at(0) == static_cast<float>(size * size * size));
  REQUIRE(z.values().at(4) == static_cast<float>(part_size * part_size * part_size));
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
  REQUIRE(x.values().at(0) == static_cast<float>(world_size()));
  REQUIRE(y.values().at(0) == static_cast<float>(10 * world_size()));
  INFO(reports());
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
