#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <thread>
#include <utility>

#include "kernels/cuda/cuda_error.h"

namespace artel::cuda {

/// A stream that does not wait for the legacy default stream.
class Stream {
 public:
  Stream() { check("stream", "cudaStreamCreateWithFlags", cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// A place in a stream, without time.
class Event {
 public:
  Event() { check("event", "cudaEventCreateWithFlags", cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream) { check("event", "cudaEventRecord", cudaEventRecord(event_, stream)); }
  /// Blocks the host until the stream has reached the place of the last record(). Errors: those of anything before it.
  void wait() const { check("event", "cudaEventSynchronize", cudaEventSynchronize(event_)); }
  /// Whether the stream has reached that place. Errors: as of wait().
  bool is_reached() const {
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) return false;
    check("event", "cudaEventQuery", status);
    return true;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// How the host waits for the GPU: in the driver or, where a stream may be behind something that only the host can
/// find broken, awake and calling a poll again and again.
class HostWait {
 public:
  /// An empty one: in the driver.
  void set_poll(std::function<void()> poll) { poll_ = std::move(poll); }
  /// Until the last record() of the event has been reached; at once if it has been. Errors: those of anything before
  /// it, and the poll's.
  void wait(const Event& event) const {
    if (event.is_reached()) return;
    if (!poll_) return event.wait();
    do {
      poll_();
      std::this_thread::yield();
    } while (!event.is_reached());
  }

 private:
  std::function<void()> poll_;
};

/// Page-locked host memory: the GPU copies from and to it by itself.
class PinnedMemory {
 public:
  explicit PinnedMemory(std::size_t bytes) : bytes_(bytes) {
    check("pinned_memory", "cudaMallocHost", cudaMallocHost(&data_, bytes));
  }
  ~PinnedMemory() { cudaFreeHost(data_); }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  char* data() const { return static_cast<char*>(data_); }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
  void* data_ = nullptr;
};

}  // namespace artel::cuda
