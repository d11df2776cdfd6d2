#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <initializer_list>
#include <string>
#include <vector>

#include "emulator/emulator.h"
#include "emulator/internal.h"
#include "support/catch.h"

// What the tests of the runtime share.
namespace emulator_tests {

/// The emulator's state for one test: errors are collected from none on. At the end nothing is left to run.
class Session {
 public:
  explicit Session(emulator::Streams streams = emulator::Streams::eager, std::uint64_t seed = 1)
      : before_(emulator::config()) {
    emulator::drain();
    emulator::clear_errors();
    emulator::config().collect = true;
    emulator::config().streams = streams;
    emulator::config().seed = seed;
    emulator::config().stall_seconds = 5;
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    emulator::drain();
    cudaGetLastError();
    emulator::clear_errors();
    emulator::config() = before_;
  }

 private:
  emulator::Config before_;
};

/// Every schedule; the random one with several seeds.
struct Schedule {
  emulator::Streams streams;
  std::uint64_t seed;
};
inline std::vector<Schedule> all_schedules() {
  using emulator::Streams;
  return {{Streams::eager, 1},  {Streams::lazy, 1},   {Streams::random, 1}, {Streams::random, 2},
          {Streams::random, 3}, {Streams::random, 4}, {Streams::random, 5}};
}

/// How many errors are of this kind and have all of these texts.
inline int num_reported(const std::string& kind, std::initializer_list<const char*> texts) {
  int count = 0;
  for (const emulator::Error& error : emulator::errors()) {
    bool has_all = error.kind == kind;
    for (const char* text : texts) has_all = has_all && error.text.find(text) != std::string::npos;
    if (has_all) ++count;
  }
  return count;
}

/// All that was reported, for messages of failed checks.
inline std::string reports() {
  std::string all;
  for (const emulator::Error& error : emulator::errors()) all += to_string(error) + "\n";
  return all;
}

class Stream {
 public:
  Stream() { REQUIRE(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking) == cudaSuccess); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream_); }
  operator cudaStream_t() const { return stream_; }
  void wait() const { REQUIRE(cudaStreamSynchronize(stream_) == cudaSuccess); }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() { REQUIRE(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming) == cudaSuccess); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(event_); }
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// `to` waits for what `from` has been given so far.
inline void make_wait(cudaStream_t to, cudaStream_t from) {
  Event event;
  REQUIRE(cudaEventRecord(event, from) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(to, event, 0) == cudaSuccess);
}

/// Elements in device memory, from cudaMalloc; freed when everything has run.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t size) : size_(size) {
    REQUIRE(cudaMalloc(reinterpret_cast<void**>(&data_), size * sizeof(T)) == cudaSuccess);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    REQUIRE(cudaMemcpy(data_, values.data(), num_bytes(), cudaMemcpyHostToDevice) == cudaSuccess);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() {
    cudaDeviceSynchronize();
    cudaFree(data_);
  }
  T* data() const { return data_; }
  std::size_t num_bytes() const { return size_ * sizeof(T); }
  /// Waits for the device.
  std::vector<T> values() const {
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    std::vector<T> values(size_);
    REQUIRE(cudaMemcpy(values.data(), data_, num_bytes(), cudaMemcpyDeviceToHost) == cudaSuccess);
    return values;
  }

 private:
  std::size_t size_;
  T* data_ = nullptr;
};

/// Elements in pinned memory.
template <class T>
class PinnedArray {
 public:
  explicit PinnedArray(std::size_t size) : size_(size) {
    REQUIRE(cudaMallocHost(reinterpret_cast<void**>(&data_), size * sizeof(T)) == cudaSuccess);
  }
  PinnedArray(const PinnedArray&) = delete;
  PinnedArray& operator=(const PinnedArray&) = delete;
  ~PinnedArray() {
    cudaDeviceSynchronize();
    cudaFreeHost(data_);
  }
  T* data() const { return data_; }
  T& operator[](std::size_t i) const { return data_[i]; }
  std::size_t num_bytes() const { return size_ * sizeof(T); }

 private:
  std::size_t size_;
  T* data_ = nullptr;
};

}  // namespace emulator_tests
