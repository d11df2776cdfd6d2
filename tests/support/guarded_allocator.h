#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "core/allocator.h"

namespace artel {

/// Host memory with a band before and behind every block that nobody may write to: a kernel's scratch is guarded too.
/// What a block holds at first is NaN in every floating-point type.
class GuardedAllocator final : public Allocator {
 public:
  Device device() const override { return Device::cpu; }
  void* allocate(std::size_t bytes) override;
  void deallocate(void* data, std::size_t bytes) noexcept override;
  /// As HostAllocator counts, without the bands.
  AllocatorStats stats() const override;
  void reset_peak() override;
  void release_cache() override { inner_.release_cache(); }

  /// Empty, or the sizes of the blocks, those given back included, whose bands were written to, and where.
  std::string find_damage() const;

 private:
  mutable std::mutex mutex_;
  HostAllocator inner_;
  std::map<std::byte*, std::size_t> blocks_;  // what is handed out -> bytes
  std::string damage_;                        // to blocks that came back
  std::int64_t active_bytes_ = 0;
  std::int64_t peak_bytes_ = 0;
};

}  // namespace artel
