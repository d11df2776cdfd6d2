#pragma once

#include <cstddef>
#include <string>

#include "emulator/internal.h"
#include "emulator/ordering.h"

// Device memory: allocations in one range of host memory, apart from each other by red zones. Addresses of freed
// memory come back as late as possible, and in between the memory is poisoned.
namespace emulator {

/// Reserved by cudaMalloc or cudaMallocAsync, and live from when its stream gets to the latter.
struct Allocation {
  char* begin = nullptr;
  std::size_t bytes = 0;
  bool live = false;
};

/// Makes the device's memory, if that has not been done, so that device_heap is set.
void make_heap();
/// Room for an allocation that is not live yet; null if there is none.
char* heap_reserve(std::size_t bytes);
/// From here on it may be used. It holds poison.
void heap_make_live(char* begin);
/// Ends an allocation. `by` is named when the memory is used afterwards.
void heap_release(char* begin, const Label& by);
/// The allocation that contains p, or null.
const Allocation* heap_find(const void* p);
/// Reports (memcheck) and returns false unless [p, p + bytes) lies in one live allocation. `user` needs it as `what`.
bool heap_check(const void* p, std::size_t bytes, const Label& user, const char* what);
/// Reports a red zone that somebody has written since the last look, as written by `user`. Does nothing in builds that
/// see every access.
void heap_check_red_zones(const Label& user);
/// Whether the address sanitizer watches the memory of this build.
bool has_address_sanitizer();
/// Of all allocations together.
std::size_t heap_bytes_in_use();
/// "bytes [0, 64) of the allocation of 1024 bytes at 0x7f00…", for messages.
std::string heap_describe(const void* p, std::size_t bytes);

}  // namespace emulator
