#include "kernels/cuda/cuda_allocator.h"

#include <algorithm>
#include <string>

#include "kernels/cuda/cuda_error.h"
#include "util/error.h"

namespace artel::cuda {
namespace {

constexpr const char* where = "allocator";
constexpr std::size_t large_bytes = std::size_t{256} << 20;
constexpr std::size_t large_step = large_bytes / 8;  // what HostAllocator rounds to at that size
constexpr std::size_t impossible_bytes = std::size_t{1} << 62;

std::string mebibytes(std::size_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

}  // namespace

CudaAllocator::~CudaAllocator() {
  release_cache();
}

std::size_t CudaAllocator::rounded_size(std::size_t bytes) {
  if (bytes < large_bytes) return HostAllocator::rounded_size(bytes);
  return (bytes + large_step - 1) / large_step * large_step;
}

void* CudaAllocator::allocate(std::size_t bytes) {
  std::unique_lock lock(mutex_);
  if (bytes >= impossible_bytes) fail_out_of_memory(bytes);  // rounding up could wrap round
  const std::size_t size = rounded_size(bytes);
  void* data = nullptr;
  auto found = free_blocks_.find(size);
  if (found != free_blocks_.end() && !found->second.empty()) {
    data = found->second.back();
    found->second.pop_back();
    stats_.cached_bytes -= static_cast<std::int64_t>(size);
  } else {
    data = system_allocate(size);
    if (data == nullptr) {
      // What is given back here is free for other sizes once the stream has got there.
      release_cache_locked();
      lock.unlock();  // what is polled meanwhile may free memory
      Event given_back;
      given_back.record(stream_);
      wait_.wait(given_back);
      lock.lock();
      data = system_allocate(size);
    }
    if (data == nullptr) fail_out_of_memory(bytes);
    ++stats_.num_system_allocations;
  }
  stats_.active_bytes += static_cast<std::int64_t>(size);
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.active_bytes);
  return data;
}

void* CudaAllocator::system_allocate(std::size_t size) {
  void* data = nullptr;
  const cudaError_t status = cudaMallocAsync(&data, size, stream_);
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());  // handled here; the next launch must not report it
    return nullptr;
  }
  check(where, "cudaMallocAsync", status);
  return data;
}

void CudaAllocator::deallocate(void* data, std::size_t bytes) noexcept {
  const std::size_t size = rounded_size(bytes);
  const std::lock_guard lock(mutex_);
  stats_.active_bytes -= static_cast<std::int64_t>(size);
  if (!keep_) {
    static_cast<void>(cudaFreeAsync(data, stream_));  // it fails only after an error that has been reported
    return;
  }
  stats_.cached_bytes += static_cast<std::int64_t>(size);
  free_blocks_[size].push_back(data);
}

AllocatorStats CudaAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void CudaAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.active_bytes;
}

void CudaAllocator::release_cache() {
  const std::lock_guard lock(mutex_);
  release_cache_locked();
}

void CudaAllocator::release_cache_locked() {
  for (auto& [size, blocks] : free_blocks_) {
    for (void* block : blocks) static_cast<void>(cudaFreeAsync(block, stream_));
  }
  free_blocks_.clear();
  stats_.cached_bytes = 0;
}

void CudaAllocator::fail_out_of_memory(std::size_t bytes) const {
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  static_cast<void>(cudaMemGetInfo(&free_bytes, &total_bytes));
  fail(where, "required " + std::to_string(bytes) + " bytes of GPU memory, found none left with " +
                  mebibytes(static_cast<std::size_t>(stats_.active_bytes)) + " in use (peak " +
                  mebibytes(static_cast<std::size_t>(stats_.peak_bytes)) + ") and " + mebibytes(free_bytes) +
                  " free of the GPU's " + mebibytes(total_bytes) +
                  "; use a smaller train.micro_batch_size or train.recompute: block");
}

}  // namespace artel::cuda
