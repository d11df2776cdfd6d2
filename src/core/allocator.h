#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "core/device.h"

namespace artel {

struct AllocatorStats {
  std::int64_t active_bytes = 0;  ///< handed out now
  std::int64_t peak_bytes = 0;    ///< highest active_bytes since the last reset_peak()
  std::int64_t cached_bytes = 0;  ///< kept for reuse, not handed out
  std::int64_t num_system_allocations = 0;
};

/// Memory of one device. Thread-safe. Memory comes 64-byte aligned and uninitialised.
class Allocator {
 public:
  Allocator() = default;
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;
  virtual ~Allocator() = default;

  virtual Device device() const = 0;
  /// Errors: out of memory, naming the size asked for and the bytes active.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void deallocate(void* data, std::size_t bytes) noexcept = 0;
  virtual AllocatorStats stats() const = 0;
  virtual void reset_peak() = 0;
  /// Returns the cached memory to the system.
  virtual void release_cache() = 0;
};

/// Host memory that is kept when freed: a training step asks for the same sizes again and again, and pages that go back
/// to the system cost a page fault each when they return. Sizes are rounded up to an eighth of their power of two, and
/// a freed block serves the next request of its rounded size.
class HostAllocator final : public Allocator {
 public:
  ~HostAllocator() override;

  Device device() const override { return Device::cpu; }
  void* allocate(std::size_t bytes) override;
  void deallocate(void* data, std::size_t bytes) noexcept override;
  AllocatorStats stats() const override;
  void reset_peak() override;
  void release_cache() override;

  /// The size that a request is rounded up to.
  static std::size_t rounded_size(std::size_t bytes);

 private:
  void release_cache_locked();

  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_blocks_;  // rounded size -> blocks
  AllocatorStats stats_;
};

}  // namespace artel
