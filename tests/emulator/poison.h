#pragma once

#include <cstddef>

// With the address sanitizer, device memory outside of live allocations is poisoned for it too.
#if defined(__SANITIZE_ADDRESS__)
#define EMULATOR_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATOR_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(EMULATOR_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#endif

namespace emulator {

/// Bytes of ones are NaN in every floating-point type and -1 in every signed one.
constexpr int poison_byte = 0xff;

#if defined(EMULATOR_ADDRESS_SANITIZER)
constexpr bool built_with_address_sanitizer = true;
inline void poison_region(const void* p, std::size_t bytes) {
  __asan_poison_memory_region(p, bytes);
}
inline void unpoison_region(const void* p, std::size_t bytes) {
  __asan_unpoison_memory_region(p, bytes);
}
#else
constexpr bool built_with_address_sanitizer = false;
inline void poison_region(const void*, std::size_t) {}
inline void unpoison_region(const void*, std::size_t) {}
#endif

}  // namespace emulator
