#include <cstddef>
#include <cstdint>
#include <cstring>

#include "emulator/memory_rules.h"

// What code compiled with -fsanitize=thread calls at each access to memory: kernels of the checking build. The
// sanitizer's own library is not linked; its functions, defined here, hold accesses against MemoryRules.
namespace emulator {
namespace {

MemoryRules& rules() {
  static MemoryRules instance;
  return instance;
}

inline void access(const void* p, std::size_t bytes, AccessKind kind, const void* pc) {
  // Code of the host mostly touches memory of the host.
  if (!in_kernel && !device_heap.contains(p)) return;
  rules().access(p, bytes, kind, pc);
}

inline void aligned_access(const void* p, std::size_t bytes, AccessKind kind, const void* pc) {
  // For 16 bytes the compiler asks for a multiple of 8; alignment.cpp sees types that need more.
  const std::size_t alignment = bytes < 8 ? bytes : 8;
  if (reinterpret_cast<std::uintptr_t>(p) % alignment != 0) check_alignment(p, alignment, pc);
  access(p, bytes, kind, pc);
}

}  // namespace
}  // namespace emulator

using emulator::AccessKind;

#define EMULATOR_PC __builtin_return_address(0)

extern "C" {

// Called before main() by each instrumented object.
void __tsan_init() {
  emulator::memory_checker = &emulator::rules();
}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define EMULATOR_ACCESS(bytes)                                          \
  void __tsan_read##bytes(void* p) {                                    \
    emulator::aligned_access(p, bytes, AccessKind::read, EMULATOR_PC);  \
  }                                                                     \
  void __tsan_write##bytes(void* p) {                                   \
    emulator::aligned_access(p, bytes, AccessKind::write, EMULATOR_PC); \
  }                                                                     \
  void __tsan_read_write##bytes(void* p) {                              \
    emulator::aligned_access(p, bytes, AccessKind::read, EMULATOR_PC);  \
    emulator::aligned_access(p, bytes, AccessKind::write, EMULATOR_PC); \
  }                                                                     \
  void __tsan_unaligned_read##bytes(void* p) {                          \
    emulator::access(p, bytes, AccessKind::read, EMULATOR_PC);          \
  }                                                                     \
  void __tsan_unaligned_write##bytes(void* p) {                         \
    emulator::access(p, bytes, AccessKind::write, EMULATOR_PC);         \
  }                                                                     \
  void __tsan_unaligned_read_write##bytes(void* p) {                    \
    emulator::access(p, bytes, AccessKind::read, EMULATOR_PC);          \
    emulator::access(p, bytes, AccessKind::write, EMULATOR_PC);         \
  }
EMULATOR_ACCESS(1)
EMULATOR_ACCESS(2)
EMULATOR_ACCESS(4)
EMULATOR_ACCESS(8)
EMULATOR_ACCESS(16)

void __tsan_read_range(void* p, unsigned long bytes) {
  emulator::access(p, bytes, AccessKind::read, EMULATOR_PC);
}
void __tsan_write_range(void* p, unsigned long bytes) {
  emulator::access(p, bytes, AccessKind::write, EMULATOR_PC);
}

// Copies of whole structs. Which of the names the compiler calls depends on its version; the build renames calls of
// memcpy to emulator_memcpy in instrumented objects.
#define EMULATOR_COPY(name, function)                             \
  void* name(void* to, const void* from, std::size_t bytes) {     \
    emulator::access(from, bytes, AccessKind::read, EMULATOR_PC); \
    emulator::access(to, bytes, AccessKind::write, EMULATOR_PC);  \
    return function(to, from, bytes);                             \
  }
EMULATOR_COPY(emulator_memcpy, std::memcpy)
EMULATOR_COPY(emulator_memmove, std::memmove)
EMULATOR_COPY(__tsan_memcpy, std::memcpy)
EMULATOR_COPY(__tsan_memmove, std::memmove)
#define EMULATOR_SET(name)                                       \
  void* name(void* to, int value, std::size_t bytes) {           \
    emulator::access(to, bytes, AccessKind::write, EMULATOR_PC); \
    return std::memset(to, value, bytes);                        \
  }
EMULATOR_SET(emulator_memset)
EMULATOR_SET(__tsan_memset)
}
