#include "support/guarded_allocator.h"

#include <algorithm>
#include <cstring>

namespace artel {
namespace {

constexpr std::size_t band_bytes = 512;  // a multiple of the alignment
constexpr std::byte band{0x5a};
constexpr std::byte content{0xff};  // NaN in bf16, f32 and f64

std::string damage_to(const std::byte* data, std::size_t bytes) {
  const auto written = [](std::byte byte) { return byte != band; };
  const std::byte* const before = data - band_bytes;
  const auto lowest = std::find_if(before, data, written);
  const auto behind = std::find_if(data + bytes, data + bytes + band_bytes, written);
  std::string damage;
  const auto note = [&](std::ptrdiff_t distance, const char* where) {
    damage += "a block of " + std::to_string(bytes) + " bytes was overwritten " + std::to_string(distance) + " bytes " +
              where + "; ";
  };
  if (lowest != data) note(data - lowest, "before its beginning");
  if (behind != data + bytes + band_bytes) note(behind - (data + bytes), "behind its end");
  return damage;
}

}  // namespace

void* GuardedAllocator::allocate(std::size_t bytes) {
  auto* const block = static_cast<std::byte*>(inner_.allocate(bytes + 2 * band_bytes));
  std::byte* const data = block + band_bytes;
  std::memset(block, static_cast<int>(band), band_bytes);
  std::memset(data, static_cast<int>(content), bytes);
  std::memset(data + bytes, static_cast<int>(band), band_bytes);
  const std::lock_guard lock(mutex_);
  blocks_[data] = bytes;
  active_bytes_ += static_cast<std::int64_t>(HostAllocator::rounded_size(bytes));
  peak_bytes_ = std::max(peak_bytes_, active_bytes_);
  return data;
}

void GuardedAllocator::deallocate(void* data, std::size_t bytes) noexcept {
  auto* const begin = static_cast<std::byte*>(data);
  {
    const std::lock_guard lock(mutex_);
    damage_ += damage_to(begin, bytes);
    blocks_.erase(begin);
    active_bytes_ -= static_cast<std::int64_t>(HostAllocator::rounded_size(bytes));
  }
  inner_.deallocate(begin - band_bytes, bytes + 2 * band_bytes);
}

AllocatorStats GuardedAllocator::stats() const {
  AllocatorStats stats = inner_.stats();
  const std::lock_guard lock(mutex_);
  stats.active_bytes = active_bytes_;
  stats.peak_bytes = peak_bytes_;
  return stats;
}

void GuardedAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  peak_bytes_ = active_bytes_;
}

std::string GuardedAllocator::find_damage() const {
  const std::lock_guard lock(mutex_);
  std::string damage = damage_;
  for (const auto& [data, bytes] : blocks_) damage += damage_to(data, bytes);
  return damage;
}

}  // namespace artel
