#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

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

 private:
  cudaEvent_t event_ = nullptr;
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
