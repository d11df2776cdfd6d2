#include "emulator/heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "emulator/poison.h"

namespace emulator {

Range device_heap;

namespace {

constexpr std::size_t alignment = 256;
constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;
constexpr std::size_t red_zone_bytes = 256;
constexpr int red_zone_byte = 0xfb;

struct Freed {
  std::size_t bytes = 0;
  Label by;
};

struct Heap {
  std::map<const char*, Allocation> allocations;
  std::map<const char*, Freed> freed;  // until the memory is given again
  char* next = nullptr;                // where the search for room begins
  std::size_t bytes_in_use = 0;
};

Heap& heap() {
  static Heap instance;
  return instance;
}

char* begin_of_heap() {
  return const_cast<char*>(device_heap.begin);
}

/// Bytes from the beginning of an allocation to that of the next possible one.
std::size_t extent(std::size_t bytes) {
  return (bytes + alignment - 1) / alignment * alignment + red_zone_bytes;
}

/// The first gap for `needed` bytes at or after `from`.
char* find_gap(char* from, std::size_t needed) {
  auto& allocations = heap().allocations;
  auto next = allocations.upper_bound(from);
  if (next != allocations.begin()) {
    const Allocation& before = std::prev(next)->second;
    from = std::max(from, before.begin + extent(before.bytes));
  }
  for (; next != allocations.end(); ++next) {
    if (from + needed <= next->first) return from;
    from = next->second.begin + extent(next->second.bytes);
  }
  return from + needed <= device_heap.end ? from : nullptr;
}

bool is_filled(const char* p, std::size_t bytes, int value) {
  return std::all_of(p, p + bytes, [value](char c) { return static_cast<unsigned char>(c) == value; });
}

/// Memory that was freed must still hold what freeing put there. Forgets that it was freed.
void give_again(const char* begin, std::size_t bytes) {
  auto& freed = heap().freed;
  auto it = freed.lower_bound(begin);
  if (it != freed.begin() && std::prev(it)->first + std::prev(it)->second.bytes > begin) --it;
  while (it != freed.end() && it->first < begin + bytes) {
    if (config().poison && !built_with_address_sanitizer && !is_filled(it->first, it->second.bytes, poison_byte)) {
      error("memcheck", "memory of %zu bytes was written after %s had freed it", it->second.bytes,
            text(it->second.by).c_str());
    }
    it = freed.erase(it);
  }
}

void fill_red_zone(const Allocation& allocation) {
  char* const end = allocation.begin + allocation.bytes;
  std::memset(end, red_zone_byte, allocation.begin + extent(allocation.bytes) - end);
}

}  // namespace

void make_heap() {
  if (device_heap.begin != nullptr) return;
  const std::size_t bytes = config().heap_bytes;
  void* const mapping = mmap(nullptr, bytes + huge_page_bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    std::fprintf(stderr, "emulator: required %zu bytes of address space for device memory, found less\n", bytes);
    std::abort();
  }
  const auto address = reinterpret_cast<std::uintptr_t>(mapping);
  char* const memory = static_cast<char*>(mapping) + (huge_page_bytes - address % huge_page_bytes) % huge_page_bytes;
  device_heap = {memory, memory + bytes};
  // DeviceAccess changes all of it at once, which takes long with small pages.
  madvise(memory, bytes, MADV_HUGEPAGE);
  heap().next = begin_of_heap() + red_zone_bytes;
  poison_region(memory, bytes);
}

char* heap_reserve(std::size_t bytes) {
  make_heap();
  Heap& h = heap();
  // Without the second condition a size near 2^64 would wrap around.
  if (bytes > static_cast<std::size_t>(device_heap.end - device_heap.begin)) return nullptr;
  const DeviceAccess access;
  const std::size_t needed = extent(bytes);
  char* begin = find_gap(h.next, needed);
  if (begin == nullptr) begin = find_gap(begin_of_heap() + red_zone_bytes, needed);
  if (begin == nullptr) return nullptr;
  unpoison_region(begin, needed);
  give_again(begin, needed);
  const Allocation& allocation = h.allocations[begin] = {begin, bytes, false};
  fill_red_zone(allocation);
  poison_region(begin, needed);
  h.next = begin + needed;
  h.bytes_in_use += bytes;
  return begin;
}

void heap_make_live(char* begin) {
  const DeviceAccess access;
  Allocation& allocation = heap().allocations.at(begin);
  allocation.live = true;
  unpoison_region(begin, allocation.bytes);
  if (config().poison) std::memset(begin, poison_byte, allocation.bytes);
  mark_live(begin, allocation.bytes);
}

void heap_release(char* begin, const Label& by) {
  Heap& h = heap();
  const auto it = h.allocations.find(begin);
  if (it == h.allocations.end()) return;
  const DeviceAccess access;
  heap_check_red_zones(by);
  const std::size_t bytes = it->second.bytes;
  forget_uses(begin, bytes);
  mark_dead(begin, bytes);
  if (config().poison) std::memset(begin, poison_byte, bytes);
  poison_region(begin, bytes);
  h.allocations.erase(it);
  h.freed[begin] = {bytes, by};
  h.bytes_in_use -= bytes;
}

const Allocation* heap_find(const void* p) {
  const auto& allocations = heap().allocations;
  auto it = allocations.upper_bound(static_cast<const char*>(p));
  if (it == allocations.begin()) return nullptr;
  --it;
  // An allocation of no bytes contains its beginning.
  const auto offset = static_cast<std::size_t>(static_cast<const char*>(p) - it->first);
  return offset < it->second.bytes || offset == 0 ? &it->second : nullptr;
}

bool heap_check(const void* p, std::size_t bytes, const Label& user, const char* what) {
  if (bytes == 0) return true;
  const char* const begin = static_cast<const char*>(p);
  const Allocation* const allocation = heap_find(p);
  if (allocation == nullptr) {
    const auto& freed = heap().freed;
    auto it = freed.upper_bound(begin);
    if (it != freed.begin() && (--it, begin < it->first + it->second.bytes)) {
      error("memcheck", "%s: %s of %zu bytes at %p was freed by %s", text(user).c_str(), what, bytes, p,
            text(it->second.by).c_str());
    } else {
      error("memcheck", "%s: %s of %zu bytes at %p is in no allocation", text(user).c_str(), what, bytes, p);
    }
    return false;
  }
  if (!allocation->live) {
    error("memcheck", "%s: %s of %zu bytes at %p is used before its cudaMallocAsync has run", text(user).c_str(), what,
          bytes, p);
    return false;
  }
  if (bytes > static_cast<std::size_t>(allocation->begin + allocation->bytes - begin)) {
    error("memcheck", "%s: %s reaches beyond its allocation: %s", text(user).c_str(), what,
          heap_describe(p, bytes).c_str());
    return false;
  }
  return true;
}

void heap_check_red_zones(const Label& user) {
  if (built_with_address_sanitizer || checks_memory()) return;
  const DeviceAccess access;
  for (const auto& [begin, allocation] : heap().allocations) {
    const char* const end = begin + allocation.bytes;
    const std::size_t bytes = static_cast<std::size_t>(begin + extent(allocation.bytes) - end);
    if (is_filled(end, bytes, red_zone_byte)) continue;
    error("memcheck", "%s wrote beyond the end of the allocation of %zu bytes at %p", text(user).c_str(),
          allocation.bytes, static_cast<const void*>(begin));
    fill_red_zone(allocation);
  }
}

bool has_address_sanitizer() {
  return built_with_address_sanitizer;
}

std::size_t heap_bytes_in_use() {
  return heap().bytes_in_use;
}

std::string heap_describe(const void* p, std::size_t bytes) {
  char text[160];
  const Allocation* const allocation = heap_find(p);
  if (allocation == nullptr) {
    std::snprintf(text, sizeof text, "%zu bytes at %p", bytes, p);
  } else {
    const auto offset = static_cast<std::size_t>(static_cast<const char*>(p) - allocation->begin);
    std::snprintf(text, sizeof text, "bytes [%zu, %zu) of the allocation of %zu bytes at %p", offset, offset + bytes,
                  allocation->bytes, static_cast<const void*>(allocation->begin));
  }
  return text;
}

}  // namespace emulator
