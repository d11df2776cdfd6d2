#include <cublas_v2.h>

#include "emulator/heap.h"
#include "emulator/planted/host.h"
#include "emulator/runtime_support.h"

using namespace emulator_tests;
using emulator::Streams;

// Bugs of host code, each of which must be reported. Where nothing depends on the schedule, under every schedule.

TEST_CASE("Memory that is freed while a stream may still use it is reported under every schedule") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  Stream stream;
  void* p = nullptr;
  REQUIRE(cudaMalloc(&p, 64) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(p, 0, 64, stream) == cudaSuccess);
  REQUIRE(cudaFree(p) == cudaSuccess);
  INFO(reports());
  REQUIRE(num_reported("ordering", {"cudaMemsetAsync on stream", "cudaFree"}) == 1);
  REQUIRE(emulator::errors().size() == 1);
}

TEST_CASE("Pinned memory that is freed while a copy may still use it is reported") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  DeviceArray<float> x(std::vector<float>(4, 1));
  Stream stream;
  void* p = nullptr;
  REQUIRE(cudaMallocHost(&p, 16) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(p, x.data(), 16, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  REQUIRE(cudaFreeHost(p) == cudaSuccess);
  INFO(reports());
  REQUIRE(num_reported("ordering", {"cudaMemcpyAsync (device to host) on stream", "cudaFreeHost"}) == 1);
}

TEST_CASE("Use after a free in the order of a stream is reported with the call that freed") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  Stream stream;
  void* p = nullptr;
  REQUIRE(cudaMallocAsync(&p, 64, stream) == cudaSuccess);
  REQUIRE(cudaFreeAsync(p, stream) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(p, 0, 64, stream) == cudaSuccess);
  stream.wait();
  INFO(reports());
  REQUIRE(num_reported("memcheck", {"cudaMemsetAsync on stream", "was freed by cudaFreeAsync on stream"}) == 1);
}

TEST_CASE("A free on another stream that does not wait is reported under every schedule") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  Stream a;
  Stream b;
  void* p = nullptr;
  REQUIRE(cudaMallocAsync(&p, 64, a) == cudaSuccess);
  make_wait(b, a);
  REQUIRE(cudaMemsetAsync(p, 0, 64, a) == cudaSuccess);
  REQUIRE(cudaFreeAsync(p, b) == cudaSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  INFO(reports());
  // Whichever comes first, the other is told of it.
  REQUIRE(num_reported("ordering", {"cudaMemsetAsync on stream", "cudaFreeAsync on stream"}) +
              num_reported("memcheck", {"cudaMemsetAsync on stream", "was freed by cudaFreeAsync on stream"}) ==
          1);
}

TEST_CASE("Memory from cudaMallocAsync that another stream uses without a wait is reported under every schedule") {
  const Schedule schedule = GENERATE(from_range(all_schedules()));
  Session session(schedule.streams, schedule.seed);
  Stream a;
  Stream b;
  void* p = nullptr;
  REQUIRE(cudaMallocAsync(&p, 64, a) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(p, 0, 64, b) == cudaSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  INFO(reports());
  REQUIRE(num_reported("ordering", {"cudaMallocAsync on stream", "cudaMemsetAsync on stream"}) +
              num_reported("memcheck", {"cudaMemsetAsync on stream", "before its cudaMallocAsync has run"}) ==
          1);
  REQUIRE(cudaFree(p) == cudaSuccess);
}

TEST_CASE("Memory is freed once, where it begins") {
  Session session;
  void* p = nullptr;
  REQUIRE(cudaMalloc(&p, 64) == cudaSuccess);
  REQUIRE(cudaFree(static_cast<char*>(p) + 16) == cudaErrorInvalidValue);
  REQUIRE(cudaFree(p) == cudaSuccess);
  REQUIRE(cudaFree(p) == cudaErrorInvalidValue);
  REQUIRE(cudaFree(nullptr) == cudaSuccess);
  float on_stack = 0;
  REQUIRE(cudaFree(&on_stack) == cudaErrorInvalidValue);
  REQUIRE(num_reported("memcheck", {"cudaFree of", "at which no allocation begins"}) == 3);
}

TEST_CASE("Copies and fills beyond the end of an allocation are reported and not done") {
  Session session;
  DeviceArray<char> x(100);
  DeviceArray<char> y(std::vector<char>(100, 5));
  Stream stream;
  REQUIRE(cudaMemsetAsync(x.data() + 50, 0, 51, stream) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(y.data() + 1, x.data(), 100, cudaMemcpyDeviceToDevice, stream) == cudaSuccess);
  stream.wait();
  INFO(reports());
  REQUIRE(num_reported("memcheck", {"memory reaches beyond its allocation", "bytes [50, 101)"}) == 1);
  REQUIRE(num_reported("memcheck", {"destination reaches beyond its allocation", "bytes [1, 101)"}) == 1);
  REQUIRE(y.values() == std::vector<char>(100, 5));
}

TEST_CASE("A kernel that writes beyond its memory is reported by every build") {
  if (emulator::has_address_sanitizer()) return;  // which ends the process
  Session session;
  DeviceArray<float> y(10);
  Stream stream;
  REQUIRE(planted::write_beyond_end(y.data(), 10, stream) == cudaSuccess);
  stream.wait();
  INFO(reports());
  if (emulator::checks_memory()) {
    REQUIRE(num_reported("memcheck", {"write_beyond_end_kernel"}) == 1);
  } else {
    REQUIRE(num_reported("memcheck", {"write_beyond_end_kernel on stream", "beyond the end of the allocation of 40"}) ==
            1);
  }
}

TEST_CASE("Writing through a pointer to freed memory is reported when the memory is given again") {
  // The sanitizer ends the process; what a checking build keeps of each byte takes much memory.
  if (emulator::has_address_sanitizer() || emulator::checks_memory()) return;
  Session session;
  const std::size_t most = emulator::config().heap_bytes / 4 * 3;
  char* p = nullptr;
  REQUIRE(cudaMalloc(reinterpret_cast<void**>(&p), most) == cudaSuccess);
  REQUIRE(cudaFree(p) == cudaSuccess);
  p[12345] = 1;
  REQUIRE(cudaMalloc(reinterpret_cast<void**>(&p), most) == cudaSuccess);
  REQUIRE(num_reported("memcheck", {"was written after cudaFree had freed it"}) == 1);
  REQUIRE(cudaFree(p) == cudaSuccess);
}

TEST_CASE("Pointers that are not what the kind of a copy says are reported") {
  Session session;
  DeviceArray<float> x(4);
  DeviceArray<float> y(4);
  float host[4] = {};
  Stream stream;
  REQUIRE(cudaMemcpyAsync(x.data(), y.data(), 16, cudaMemcpyHostToDevice, stream) == cudaErrorInvalidValue);
  REQUIRE(num_reported("memcheck", {"the source is host memory, and it is device memory"}) == 1);
  REQUIRE(cudaMemcpyAsync(host, x.data(), 16, cudaMemcpyHostToDevice, stream) == cudaErrorInvalidValue);
  REQUIRE(num_reported("memcheck", {"the destination is device memory, and it is host memory"}) == 1);
  REQUIRE(cudaMemcpy(x.data(), host, 16, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  REQUIRE(num_reported("memcheck", {"cudaMemcpy of 16 bytes"}) == 2);
  REQUIRE(cudaMemsetAsync(host, 0, 16, stream) == cudaErrorInvalidValue);
  REQUIRE(num_reported("memcheck", {"cudaMemsetAsync", "found host memory"}) == 1);
}

TEST_CASE("More than 48 KiB of dynamic shared memory needs the attribute, and has an end") {
  Session session;
  DeviceArray<float> x(std::vector<float>(32, 1));
  DeviceArray<float> y(32);
  Stream stream;
  constexpr std::size_t most = 227 * 1024;
  REQUIRE(planted::add_one(x.data(), y.data(), 32, dim3(1), dim3(32), 48 * 1024, stream) == cudaSuccess);
  REQUIRE(planted::add_one(x.data(), y.data(), 32, dim3(1), dim3(32), 48 * 1024 + 1, stream) ==
          cudaErrorInvalidConfiguration);
  REQUIRE(num_reported("launch", {"add_one_kernel", "dynamic shared memory", "49153 bytes of 49152"}) == 1);
  REQUIRE(planted::allow_shared_bytes(static_cast<int>(most) + 1) == cudaErrorInvalidValue);
  REQUIRE(planted::allow_shared_bytes(static_cast<int>(most)) == cudaSuccess);
  REQUIRE(planted::add_one(x.data(), y.data(), 32, dim3(1), dim3(32), most, stream) == cudaSuccess);
  stream.wait();
  REQUIRE(emulator::errors().size() == 1);
  REQUIRE(planted::allow_shared_bytes(48 * 1024) == cudaSuccess);
}

TEST_CASE("Static shared memory counts in the 48 KiB that need no attribute") {
  Session session;
  DeviceArray<float> y(32);
  Stream stream;
  constexpr std::size_t limit = 48 * 1024;
  constexpr std::size_t static_bytes = 128;
  REQUIRE(planted::launch_with_static_shared(y.data(), limit - static_bytes, stream) == cudaSuccess);
  stream.wait();
  REQUIRE(emulator::errors().empty());
  REQUIRE(planted::launch_with_static_shared(y.data(), limit - static_bytes + 4, stream) == cudaSuccess);
  stream.wait();
  REQUIRE(num_reported("launch", {"static_shared_kernel", "49156 bytes of 49152", "the array values"}) == 1);
  REQUIRE(emulator::errors().size() == 1);
}

TEST_CASE("Grids and blocks that no GPU takes are reported") {
  Session session;
  DeviceArray<float> x(std::vector<float>(32, 1));
  DeviceArray<float> y(32);
  Stream stream;
  const std::vector<std::pair<dim3, dim3>> bad = {{dim3(1, 65536), dim3(32)}, {dim3(1, 1, 65536), dim3(32)},
                                                  {dim3(0), dim3(32)},        {dim3(0x80000000U), dim3(32)},
                                                  {dim3(1), dim3(1025)},      {dim3(1), dim3(0)},
                                                  {dim3(1), dim3(1, 1, 65)},  {dim3(1), dim3(33, 32)}};
  for (const auto& [grid, block] : bad) {
    emulator::clear_errors();
    REQUIRE(planted::add_one(x.data(), y.data(), 32, grid, block, 0, stream) == cudaErrorInvalidConfiguration);
    REQUIRE(num_reported("launch", {"add_one_kernel", "found grid"}) == 1);
  }
  REQUIRE(cudaGetLastError() == cudaErrorInvalidConfiguration);
}

TEST_CASE("The legacy default stream is reported for launches, copies, fills and products") {
  Session session;
  DeviceArray<float> x(std::vector<float>(32, 1));
  DeviceArray<float> y(32);
  REQUIRE(planted::add_one(x.data(), y.data(), 32, nullptr) == cudaErrorInvalidResourceHandle);
  REQUIRE(num_reported("launch", {"add_one_kernel", "legacy default stream"}) == 1);
  REQUIRE(cudaMemsetAsync(y.data(), 0, 16, nullptr) == cudaSuccess);
  REQUIRE(num_reported("stream", {"cudaMemsetAsync", "legacy default stream"}) == 1);
  cublasHandle_t handle = nullptr;
  REQUIRE(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
  const float one = 1;
  const float zero = 0;
  REQUIRE(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, x.data(), CUDA_R_32F, 2, x.data(), CUDA_R_32F,
                       2, &zero, y.data(), CUDA_R_32F, 2, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(num_reported("stream", {"cublasGemmEx", "legacy default stream"}) == 1);
  REQUIRE(cublasDestroy(handle) == CUBLAS_STATUS_SUCCESS);
}

TEST_CASE("Handles that were destroyed are reported") {
  Session session;
  DeviceArray<float> x(4);
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
  REQUIRE(cudaEventCreate(&event) == cudaSuccess);
  REQUIRE(cudaStreamDestroy(stream) == cudaSuccess);
  REQUIRE(cudaMemsetAsync(x.data(), 0, 16, stream) == cudaErrorInvalidResourceHandle);
  REQUIRE(num_reported("stream", {"cudaMemsetAsync: the stream was destroyed"}) == 1);
  Stream other;
  REQUIRE(cudaEventDestroy(event) == cudaSuccess);
  REQUIRE(cudaEventRecord(event, other) == cudaErrorInvalidResourceHandle);
  REQUIRE(num_reported("stream", {"cudaEventRecord: the event was destroyed"}) == 1);
}

TEST_CASE("A host function that uses CUDA is reported") {
  Session session;
  static void* memory = nullptr;
  static cudaStream_t used = nullptr;
  DeviceArray<float> x(4);
  Stream stream;
  memory = x.data();
  used = stream;
  REQUIRE(cudaLaunchHostFunc(
              stream, [](void*) { cudaMemsetAsync(memory, 0, 16, used); }, nullptr) == cudaSuccess);
  stream.wait();
  REQUIRE(num_reported("stream", {"cudaMemsetAsync is called by an operation (cudaLaunchHostFunc on stream"}) == 1);
}

TEST_CASE("Copies to the host of memory that nobody has written are reported in a checking build") {
  Session session;
  DeviceArray<float> x(4);
  float host[4];
  REQUIRE(cudaMemcpy(host, x.data(), 16, cudaMemcpyDeviceToHost) == cudaSuccess);
  REQUIRE(num_reported("initcheck", {"cudaMemcpy (device to host)", "bytes [0, 16)"}) ==
          (emulator::checks_memory() ? 1 : 0));
}

TEST_CASE("A pinned target that the host writes before its copy is reported") {
  Session session(Streams::lazy);
  DeviceArray<float> x(std::vector<float>(4, 1));
  PinnedArray<float> host(4);
  Stream stream;
  REQUIRE(cudaMemcpyAsync(host.data(), x.data(), 16, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  host[2] = 5;
  stream.wait();
  REQUIRE(num_reported("ordering", {"the host writes the destination of cudaMemcpyAsync (device to host)"}) == 1);
}
