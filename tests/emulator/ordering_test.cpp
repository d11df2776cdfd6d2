#include "emulator/ordering.h"

#include "emulator/planted/host.h"
#include "emulator/runtime_support.h"

using namespace emulator_tests;

// Memory that two streams use: what is ordered is silent and what is not is reported, under every schedule.

TEST_CASE("A copy on another stream without a wait for the event is reported under every schedule") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  const bool waits = GENERATE(false, true);
  Session session(schedule.streams, schedule.seed);
  DeviceArray<float> x(8);
  PinnedArray<float> host(8);
  {
    Stream a;
    Stream b;
    REQUIRE(cudaMemsetAsync(x.data(), 0, x.num_bytes(), a) == cudaSuccess);
    if (waits) make_wait(b, a);
    REQUIRE(cudaMemcpyAsync(host.data(), x.data(), x.num_bytes(), cudaMemcpyDeviceToHost, b) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  }
  INFO(reports());
  const int expected = waits ? 0 : 1;
  REQUIRE(num_reported("ordering", {"cudaMemsetAsync on stream", "cudaMemcpyAsync (device to host) on stream",
                                    "neither waits for the other", "bytes [0, 32)"}) == expected);
  // Without the wait the copy may also come first and find memory that nobody has written.
  if (waits) REQUIRE(emulator::errors().empty());
}

TEST_CASE("Two streams that write one buffer are reported even if the host waits for both") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  DeviceArray<char> x(1024);
  Stream a;
  Stream b;
  REQUIRE(cudaMemsetAsync(x.data(), 0, 512, a) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(x.data() + 512, 0, 512, b) == cudaSuccess);  // beside it
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  REQUIRE(emulator::errors().empty());
  REQUIRE(cudaMemsetAsync(x.data(), 0, 512, a) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(x.data() + 511, 0, 512, b) == cudaSuccess);
  a.wait();
  b.wait();
  INFO(reports());
  REQUIRE(num_reported("ordering", {"bytes [511, 512) of the allocation of 1024 bytes"}) == 1);
  REQUIRE(emulator::errors().size() == 1);
}

TEST_CASE("Two streams may read one buffer, and a write must wait for both") {
  const bool waits_for_both = GENERATE(false, true);
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  DeviceArray<float> x(std::vector<float>(4, 1));
  DeviceArray<float> y(4);
  DeviceArray<float> z(4);
  {
    Stream a;
    Stream b;
    Stream c;
    REQUIRE(cudaMemcpyAsync(y.data(), x.data(), 16, cudaMemcpyDeviceToDevice, a) == cudaSuccess);
    REQUIRE(cudaMemcpyAsync(z.data(), x.data(), 16, cudaMemcpyDeviceToDevice, b) == cudaSuccess);
    make_wait(c, a);
    if (waits_for_both) make_wait(c, b);
    REQUIRE(cudaMemsetAsync(x.data(), 0, 16, c) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  }
  INFO(reports());
  REQUIRE(emulator::errors().size() == (waits_for_both ? 0U : 1U));
  REQUIRE(num_reported("ordering", {"cudaMemsetAsync", "cudaMemcpyAsync"}) == (waits_for_both ? 0 : 1));
}

TEST_CASE("A wait that the host does between two streams is as good as an event") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  DeviceArray<float> x(4);
  Stream a;
  Stream b;
  REQUIRE(cudaMemsetAsync(x.data(), 0, 16, a) == cudaSuccess);
  a.wait();
  REQUIRE(cudaMemsetAsync(x.data(), 0, 16, b) == cudaSuccess);
  while (cudaStreamQuery(b) == cudaErrorNotReady) {
  }
  REQUIRE(cudaMemsetAsync(x.data(), 0, 16, a) == cudaSuccess);
  Event event;
  REQUIRE(cudaEventRecord(event, a) == cudaSuccess);
  while (cudaEventQuery(event) == cudaErrorNotReady) {
  }
  REQUIRE(cudaMemsetAsync(x.data(), 0, 16, b) == cudaSuccess);
  b.wait();
  INFO(reports());
  REQUIRE(emulator::errors().empty());
}

TEST_CASE("A kernel and a copy without order are reported where kernels are instrumented") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  DeviceArray<float> x(std::vector<float>(256, 1));
  DeviceArray<float> y(256);
  {
    Stream a;
    Stream b;
    REQUIRE(planted::add_one(x.data(), y.data(), 200, a) == cudaSuccess);
    REQUIRE(cudaMemsetAsync(y.data() + 200, 0, 56 * sizeof(float), b) == cudaSuccess);  // beside what the kernel wrote
    REQUIRE(cudaMemcpyAsync(y.data() + 220, x.data(), 16, cudaMemcpyDeviceToDevice, b) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    INFO(reports());
    REQUIRE(emulator::errors().empty());
    REQUIRE(planted::add_one(x.data(), y.data(), 200, a) == cudaSuccess);
    REQUIRE(cudaMemsetAsync(x.data() + 100, 0, 8, b) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  }
  INFO(reports());
  const int expected = emulator::checks_memory() ? 1 : 0;
  REQUIRE(num_reported("ordering", {"add_one_kernel on stream", "cudaMemsetAsync on stream", "bytes [400, 408)"}) ==
          expected);
}

TEST_CASE("What a destroyed stream had to do counts until the host has waited for the device") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  const bool waits = GENERATE(false, true);
  Session session(schedule.streams, schedule.seed);
  void* p = nullptr;
  REQUIRE(cudaMalloc(&p, 64) == cudaSuccess);
  {
    Stream stream;
    REQUIRE(cudaMemsetAsync(p, 0, 64, stream) == cudaSuccess);
  }
  if (waits) REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  {
    Stream other;  // which must not pass for the first one
    REQUIRE(cudaMemsetAsync(p, 0, 64, other) == cudaSuccess);
    other.wait();
  }
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  INFO(reports());
  REQUIRE(num_reported("ordering", {"cudaMemsetAsync on stream"}) == (waits ? 0 : 1));
  emulator::clear_errors();
  REQUIRE(cudaFree(p) == cudaSuccess);
  INFO(reports());
  REQUIRE(emulator::errors().empty());
}

TEST_CASE("Clocks do not grow with the number of streams there have been") {
  Session session;
  DeviceArray<float> x(4);
  const auto run = [&] {
    Stream stream;
    REQUIRE(cudaMemsetAsync(x.data(), 0, 16, stream) == cudaSuccess);
    stream.wait();
  };
  run();
  const std::size_t size = emulator::host_clock().size();
  for (int i = 0; i < 50; ++i) run();
  REQUIRE(emulator::host_clock().size() == size);
}
