#include "emulator/host_memory.h"

#include <cstdlib>
#include <cstring>
#include <map>

#include "emulator/internal.h"
#include "emulator/ordering.h"
#include "emulator/poison.h"

namespace emulator {
namespace {

std::map<const char*, std::size_t>& allocations() {
  static std::map<const char*, std::size_t> instance;
  return instance;
}

/// The allocation that contains p, or the end.
std::map<const char*, std::size_t>::iterator find(const void* p) {
  auto& all = allocations();
  auto it = all.upper_bound(static_cast<const char*>(p));
  if (it == all.begin()) return all.end();
  --it;
  return static_cast<const char*>(p) < it->first + it->second ? it : all.end();
}

}  // namespace

void* pinned_allocate(std::size_t bytes) {
  constexpr std::size_t page = 4096;
  if (bytes > SIZE_MAX - page) return nullptr;
  void* const p = std::aligned_alloc(page, (bytes + page - 1) / page * page);
  if (p == nullptr) return nullptr;
  if (config().poison) std::memset(p, poison_byte, bytes);
  allocations()[static_cast<const char*>(p)] = bytes;
  return p;
}

bool pinned_free(void* p) {
  const std::size_t bytes = pinned_bytes(p);
  if (allocations().erase(static_cast<const char*>(p)) == 0) return false;
  forget_uses(p, bytes);
  if (config().poison) std::memset(p, poison_byte, bytes);
  std::free(p);
  return true;
}

std::size_t pinned_bytes(const void* p) {
  const auto it = allocations().find(static_cast<const char*>(p));
  return it == allocations().end() ? 0 : it->second;
}

bool is_pinned(const void* p) {
  return find(p) != allocations().end();
}

bool pinned_check(const void* p, std::size_t bytes, const char* user, const char* what) {
  const auto it = find(p);
  if (it == allocations().end()) return true;
  const auto offset = static_cast<std::size_t>(static_cast<const char*>(p) - it->first);
  if (bytes <= it->second - offset) return true;
  error("memcheck", "%s: %s of %zu bytes begins at byte %zu of a pinned allocation of %zu bytes", user, what, bytes,
        offset, it->second);
  return false;
}

}  // namespace emulator
