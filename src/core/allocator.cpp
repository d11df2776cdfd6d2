#include "core/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <string>

#include "util/error.h"

namespace artel {
namespace {

constexpr std::size_t alignment_bytes = 64;
constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;
constexpr std::size_t impossible_bytes = std::size_t{1} << 62;

void* system_allocate(std::size_t bytes) {
  // Large blocks live long and are walked from end to end: 2 MiB pages save most of their TLB misses.
  const bool large = bytes >= huge_page_bytes;
  void* data = std::aligned_alloc(large ? huge_page_bytes : alignment_bytes,
                                  large ? (bytes + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes : bytes);
#ifdef MADV_HUGEPAGE
  if (large && data != nullptr) madvise(data, bytes, MADV_HUGEPAGE);  // a hint: failure changes nothing
#endif
  return data;
}

[[noreturn]] void out_of_memory(std::size_t bytes, std::int64_t active_bytes) {
  fail("allocator", "required " + std::to_string(bytes) + " bytes of host memory, found none left with " +
                        std::to_string(active_bytes) +
                        " bytes in use; use a smaller train.micro_batch_size or train.recompute: block");
}

}  // namespace

HostAllocator::~HostAllocator() {
  release_cache();
}

std::size_t HostAllocator::rounded_size(std::size_t bytes) {
  const std::size_t at_least = std::max(bytes, alignment_bytes);
  const std::size_t step = std::max(alignment_bytes, std::bit_floor(at_least) / 8);
  return (at_least + step - 1) / step * step;
}

void* HostAllocator::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes >= impossible_bytes) out_of_memory(bytes, stats_.active_bytes);  // rounding up could wrap round
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
      release_cache_locked();
      data = system_allocate(size);
    }
    if (data == nullptr) out_of_memory(bytes, stats_.active_bytes);
    ++stats_.num_system_allocations;
  }
  stats_.active_bytes += static_cast<std::int64_t>(size);
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.active_bytes);
  return data;
}

void HostAllocator::deallocate(void* data, std::size_t bytes) noexcept {
  const std::size_t size = rounded_size(bytes);
  const std::lock_guard lock(mutex_);
  stats_.active_bytes -= static_cast<std::int64_t>(size);
  stats_.cached_bytes += static_cast<std::int64_t>(size);
  free_blocks_[size].push_back(data);
}

AllocatorStats HostAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void HostAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.active_bytes;
}

void HostAllocator::release_cache() {
  const std::lock_guard lock(mutex_);
  release_cache_locked();
}

void HostAllocator::release_cache_locked() {
  for (auto& [size, blocks] : free_blocks_) {
    for (void* block : blocks) std::free(block);
  }
  free_blocks_.clear();
  stats_.cached_bytes = 0;
}

}  // namespace artel
