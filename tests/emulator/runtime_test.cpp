#include <cmath>
#include <cstring>

#include "emulator/planted/host.h"
#include "emulator/runtime_support.h"

using namespace emulator_tests;
using emulator::Streams;

TEST_CASE("Operations of a stream run in their order, and events order streams, under every schedule") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  constexpr int n = 300;
  DeviceArray<float> x(std::vector<float>(n, 1));
  DeviceArray<float> y(n);
  DeviceArray<float> z(n);
  PinnedArray<float> host(n);
  {
    Stream a;
    Stream b;
    REQUIRE(planted::add_one(x.data(), y.data(), n, a) == cudaSuccess);
    REQUIRE(planted::add_one(y.data(), y.data(), n, a) == cudaSuccess);
    make_wait(b, a);
    REQUIRE(planted::add_one(y.data(), z.data(), n, b) == cudaSuccess);
    REQUIRE(cudaMemcpyAsync(host.data(), z.data(), z.num_bytes(), cudaMemcpyDeviceToHost, b) == cudaSuccess);
    b.wait();
    for (int i = 0; i < n; ++i) REQUIRE(host[static_cast<std::size_t>(i)] == 4.0F);
    // The host has waited for b, which had waited for a.
    host[0] = 7;
    REQUIRE(cudaMemcpyAsync(x.data(), host.data(), 4, cudaMemcpyHostToDevice, a) == cudaSuccess);
    a.wait();
  }
  REQUIRE(x.values()[0] == 7.0F);
  INFO(reports());
  REQUIRE(emulator::errors().empty());
}

TEST_CASE("A lazy stream runs nothing before something waits for it, an eager one everything at once") {
  for (const Streams streams : {Streams::lazy, Streams::eager}) {
    Session session(streams);
    Stream stream;
    Event event;
    REQUIRE(cudaEventRecord(event, stream) == cudaSuccess);
    int num_calls = 0;
    const cudaHostFn_t count = [](void* data) { ++*static_cast<int*>(data); };
    REQUIRE(cudaLaunchHostFunc(stream, count, &num_calls) == cudaSuccess);
    REQUIRE(num_calls == (streams == Streams::eager ? 1 : 0));
    REQUIRE(cudaEventSynchronize(event) == cudaSuccess);
    REQUIRE(num_calls == (streams == Streams::eager ? 1 : 0));
    stream.wait();
    REQUIRE(num_calls == 1);
  }
}

TEST_CASE("Random schedules differ by their seeds") {
  const auto order_of_run = [](std::uint64_t seed) {
    Session session(Streams::random, seed);
    Stream streams[3];
    static std::string order;
    order.clear();
    static const char letters[] = "abc";
    const cudaHostFn_t add = [](void* letter) { order += *static_cast<const char*>(letter); };
    for (int round = 0; round < 8; ++round) {
      for (std::size_t s = 0; s < 3; ++s) {
        REQUIRE(cudaLaunchHostFunc(streams[s], add, const_cast<char*>(&letters[s])) == cudaSuccess);
      }
    }
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    return order;
  };
  const std::string first = order_of_run(1);
  const std::string second = order_of_run(2);
  REQUIRE(first.size() == 24);
  REQUIRE(second != first);
  REQUIRE(order_of_run(1) == first);
}

TEST_CASE("Memory starts as NaN, and freed memory is not given again at once") {
  Session session;
  void* first = nullptr;
  REQUIRE(cudaMalloc(&first, 1000) == cudaSuccess);
  float value = 0;
  {
    const emulator::DeviceAccess access;
    std::memcpy(&value, first, sizeof value);
  }
  REQUIRE(std::isnan(value));
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  REQUIRE(cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess);
  REQUIRE(total_bytes == emulator::config().heap_bytes);
  REQUIRE(free_bytes < total_bytes);
  REQUIRE(cudaFree(first) == cudaSuccess);
  void* second = nullptr;
  REQUIRE(cudaMalloc(&second, 1000) == cudaSuccess);
  REQUIRE(second != first);
  REQUIRE(cudaFree(second) == cudaSuccess);
  REQUIRE(emulator::errors().empty());
}

TEST_CASE("What does not fit into the device's memory is refused, and memory that was freed fits again") {
  if (emulator::checks_memory()) return;  // what it keeps of each byte takes much more memory
  Session session;
  const std::size_t half = emulator::config().heap_bytes / 2;
  void* p = nullptr;
  REQUIRE(cudaMalloc(&p, emulator::config().heap_bytes) == cudaErrorMemoryAllocation);
  REQUIRE(p == nullptr);
  REQUIRE(cudaGetLastError() == cudaErrorMemoryAllocation);
  REQUIRE(cudaGetLastError() == cudaSuccess);
  REQUIRE(cudaMalloc(&p, ~std::size_t{0} - 10) == cudaErrorMemoryAllocation);
  for (int round = 0; round < 3; ++round) {
    REQUIRE(cudaMalloc(&p, half) == cudaSuccess);
    REQUIRE(cudaFree(p) == cudaSuccess);
  }
  REQUIRE(cudaMalloc(&p, 0) == cudaSuccess);
  REQUIRE(p == nullptr);
}

TEST_CASE("Copies take what a pageable source holds at the call and a pinned one at its turn") {
  Session session(Streams::lazy);
  DeviceArray<float> from_pageable(1);
  DeviceArray<float> from_pinned(1);
  PinnedArray<float> pinned(1);
  float pageable = 1;
  pinned[0] = 1;
  Stream stream;
  REQUIRE(cudaMemcpyAsync(from_pageable.data(), &pageable, 4, cudaMemcpyHostToDevice, stream) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(from_pinned.data(), pinned.data(), 4, cudaMemcpyDefault, stream) == cudaSuccess);
  pageable = 2;
  pinned[0] = 2;  // too early
  REQUIRE(from_pageable.values()[0] == 1.0F);
  REQUIRE(from_pinned.values()[0] == 2.0F);
  INFO(reports());
  REQUIRE(num_reported("ordering", {"the host changes the source", "cudaMemcpyAsync (host to device) on stream"}) == 1);
}

TEST_CASE("A copy to pageable memory is there when the call returns, one to pinned memory is NaN until its turn") {
  Session session(Streams::lazy);
  DeviceArray<float> x(std::vector<float>{3});
  Stream stream;
  float pageable = 0;
  REQUIRE(cudaMemcpyAsync(&pageable, x.data(), 4, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  REQUIRE(pageable == 3.0F);
  PinnedArray<float> pinned(1);
  pinned[0] = 0;
  REQUIRE(cudaMemcpyAsync(pinned.data(), x.data(), 4, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  REQUIRE(std::isnan(pinned[0]));
  stream.wait();
  REQUIRE(pinned[0] == 3.0F);
  REQUIRE(emulator::errors().empty());
}

TEST_CASE("A staging buffer that one stream uses twice in its order holds what it should") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  DeviceArray<float> x(std::vector<float>{3});
  DeviceArray<float> y(1);
  PinnedArray<float> staging(1);
  {
    Stream stream;
    REQUIRE(cudaMemcpyAsync(staging.data(), x.data(), 4, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    REQUIRE(cudaMemcpyAsync(y.data(), staging.data(), 4, cudaMemcpyHostToDevice, stream) == cudaSuccess);
    REQUIRE(cudaMemsetAsync(x.data(), 0, 4, stream) == cudaSuccess);
    REQUIRE(cudaMemcpyAsync(staging.data(), x.data(), 4, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    stream.wait();
  }
  REQUIRE(staging[0] == 0.0F);
  REQUIRE(y.values()[0] == 3.0F);
  INFO(reports());
  REQUIRE(emulator::errors().empty());
}

TEST_CASE("Memory from cudaMallocAsync lives from its place in the stream to that of cudaFreeAsync") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  Stream stream;
  std::vector<float> values(64);
  for (int round = 0; round < 3; ++round) {
    void* p = nullptr;
    REQUIRE(cudaMallocAsync(&p, 64 * sizeof(float), stream) == cudaSuccess);
    REQUIRE(cudaMemsetAsync(p, 0, 64 * sizeof(float), stream) == cudaSuccess);
    REQUIRE(planted::add_one(static_cast<float*>(p), static_cast<float*>(p), 64, stream) == cudaSuccess);
    REQUIRE(cudaMemcpyAsync(values.data(), p, 64 * sizeof(float), cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    REQUIRE(cudaFreeAsync(p, stream) == cudaSuccess);
    REQUIRE(values[63] == 1.0F);
  }
  stream.wait();
  INFO(reports());
  REQUIRE(emulator::errors().empty());
}

TEST_CASE("Events measure time when they were made for it") {
  Session session;
  cudaEvent_t start = nullptr;
  cudaEvent_t end = nullptr;
  REQUIRE(cudaEventCreate(&start) == cudaSuccess);
  REQUIRE(cudaEventCreate(&end) == cudaSuccess);
  float milliseconds = -1;
  REQUIRE(cudaEventElapsedTime(&milliseconds, start, end) == cudaErrorInvalidResourceHandle);
  Stream stream;
  REQUIRE(cudaEventRecord(start, stream) == cudaSuccess);
  REQUIRE(cudaEventRecord(end, stream) == cudaSuccess);
  REQUIRE(cudaEventSynchronize(end) == cudaSuccess);
  REQUIRE(cudaEventElapsedTime(&milliseconds, start, end) == cudaSuccess);
  REQUIRE(milliseconds >= 0);
  Event without_time;
  REQUIRE(cudaEventElapsedTime(&milliseconds, start, without_time) == cudaErrorInvalidResourceHandle);
  REQUIRE(cudaEventDestroy(start) == cudaSuccess);
  REQUIRE(cudaEventDestroy(end) == cudaSuccess);
}

TEST_CASE("An event that is recorded again is waited for at its last place, and one that is destroyed still counts") {
  Session session(Streams::lazy);
  DeviceArray<int> x(std::vector<int>{0});
  Stream a;
  Stream b;
  cudaEvent_t event = nullptr;
  REQUIRE(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
  REQUIRE(cudaEventRecord(event, a) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(x.data(), 1, 4, a) == cudaSuccess);
  REQUIRE(cudaEventRecord(event, a) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(b, event, 0) == cudaSuccess);
  REQUIRE(cudaEventDestroy(event) == cudaSuccess);
  int value = 0;
  REQUIRE(cudaMemcpyAsync(&value, x.data(), 4, cudaMemcpyDeviceToHost, b) == cudaSuccess);
  REQUIRE(value == 0x01010101);
  INFO(reports());
  REQUIRE(emulator::errors().empty());
}

TEST_CASE("The device is what the configuration says") {
  Session session;
  emulator::config().num_devices = 3;
  emulator::config().compute_capability = 80;
  emulator::config().driver_version = 12080;
  int value = 0;
  REQUIRE(cudaGetDeviceCount(&value) == cudaSuccess);
  REQUIRE(value == 3);
  REQUIRE(cudaSetDevice(2) == cudaSuccess);
  REQUIRE(cudaGetDevice(&value) == cudaSuccess);
  REQUIRE(value == 2);
  REQUIRE(cudaSetDevice(3) == cudaErrorInvalidDevice);
  REQUIRE(cudaSetDevice(0) == cudaSuccess);
  cudaDeviceProp properties;
  REQUIRE(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
  REQUIRE(properties.major == 8);
  REQUIRE(properties.minor == 0);
  REQUIRE(properties.totalGlobalMem == emulator::config().heap_bytes);
  REQUIRE(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0) == cudaSuccess);
  REQUIRE(value == 227 * 1024);
  REQUIRE(cudaDriverGetVersion(&value) == cudaSuccess);
  REQUIRE(value == 12080);
  REQUIRE(cudaRuntimeGetVersion(&value) == cudaSuccess);
  REQUIRE(value == CUDART_VERSION);
  emulator::config().num_devices = 0;
  REQUIRE(cudaGetDeviceCount(&value) == cudaErrorNoDevice);
  REQUIRE(value == 0);
  REQUIRE(std::string(cudaGetErrorName(cudaErrorNoDevice)) == "cudaErrorNoDevice");
  REQUIRE(std::string(cudaGetErrorString(cudaErrorMemoryAllocation)) == "out of memory");
}

TEST_CASE("Pointers say what memory they are of") {
  Session session;
  DeviceArray<float> device(1);
  PinnedArray<float> pinned(1);
  float pageable = 0;
  cudaPointerAttributes attributes;
  REQUIRE(cudaPointerGetAttributes(&attributes, device.data()) == cudaSuccess);
  REQUIRE(attributes.type == cudaMemoryTypeDevice);
  REQUIRE(cudaPointerGetAttributes(&attributes, pinned.data()) == cudaSuccess);
  REQUIRE(attributes.type == cudaMemoryTypeHost);
  REQUIRE(cudaPointerGetAttributes(&attributes, &pageable) == cudaSuccess);
  REQUIRE(attributes.type == cudaMemoryTypeUnregistered);
}
