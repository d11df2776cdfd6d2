#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <vector>

#include "core/allocator.h"
#include "kernels/cuda/handles.h"

namespace artel::cuda {

/// Memory of the current GPU in the order of one stream: what is freed serves the next request at once, because
/// everything on `stream` that used it comes before what will. Work on other streams must be waited for by `stream`
/// before the memory it uses is freed. Sizes are rounded as by HostAllocator, large ones to 32 MiB; freed blocks are
/// kept by rounded size, and given back to the GPU when it has none left.
class CudaAllocator final : public Allocator {
 public:
  /// `keep` = false gives freed memory back in the stream's order instead of keeping it, so that tools which watch
  /// allocations see every use after it. `wait`, which must outlive it: how the host waits for memory to come back.
  explicit CudaAllocator(cudaStream_t stream, const HostWait& wait, bool keep = true)
      : stream_(stream), wait_(wait), keep_(keep) {}
  ~CudaAllocator() override;

  Device device() const override { return Device::cuda; }
  /// Errors: out of memory, naming the size, the bytes in use, their peak and what the GPU has, and what to do.
  void* allocate(std::size_t bytes) override;
  void deallocate(void* data, std::size_t bytes) noexcept override;
  AllocatorStats stats() const override;
  void reset_peak() override;
  void release_cache() override;

  static std::size_t rounded_size(std::size_t bytes);

 private:
  void* system_allocate(std::size_t size);
  void release_cache_locked();
  [[noreturn]] void fail_out_of_memory(std::size_t bytes) const;

  cudaStream_t stream_;
  const HostWait& wait_;
  bool keep_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_blocks_;  // rounded size -> blocks
  AllocatorStats stats_;
};

}  // namespace artel::cuda
