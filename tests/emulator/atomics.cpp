#include <algorithm>

#include "emulator/execution.h"

// Atomic operations on one address. Threads are not interrupted within one, but another may come next.
namespace emulator {
namespace {

template <class T, class Operation>
T update(T* address, AccessKind kind, const void* pc, const Operation& operation) {
  if (memory_checker != nullptr) memory_checker->access(address, sizeof(T), kind, pc);
  const T old = *address;
  *address = operation(old);
  if (config().preempt > 0 && chance(config().preempt)) block().yield();
  return old;
}

}  // namespace
}  // namespace emulator

using emulator::AccessKind;

#define DEFINE_ATOMIC(name, T, kind, expression)                                                     \
  T name(T* address, T value) {                                                                      \
    return emulator::update(address, AccessKind::kind, __builtin_return_address(0),                  \
                            [value]([[maybe_unused]] T old) { return static_cast<T>(expression); }); \
  }
#define DEFINE_ATOMIC_INTEGERS(name, kind, expression) \
  DEFINE_ATOMIC(name, int, kind, expression)           \
  DEFINE_ATOMIC(name, unsigned, kind, expression)      \
  DEFINE_ATOMIC(name, unsigned long long, kind, expression)

DEFINE_ATOMIC(atomicAdd, float, atomic, old + value)
DEFINE_ATOMIC(atomicAdd, double, atomic, old + value)
// Integers wrap around.
DEFINE_ATOMIC(atomicAdd, int, atomic, static_cast<unsigned>(old) + static_cast<unsigned>(value))
DEFINE_ATOMIC(atomicAdd, unsigned, atomic, old + value)
DEFINE_ATOMIC(atomicAdd, unsigned long long, atomic, old + value)
DEFINE_ATOMIC(atomicSub, int, atomic, static_cast<unsigned>(old) - static_cast<unsigned>(value))
DEFINE_ATOMIC(atomicSub, unsigned, atomic, old - value)
DEFINE_ATOMIC_INTEGERS(atomicMin, atomic, std::min(old, value))
DEFINE_ATOMIC(atomicMin, long long, atomic, std::min(old, value))
DEFINE_ATOMIC_INTEGERS(atomicMax, atomic, std::max(old, value))
DEFINE_ATOMIC(atomicMax, long long, atomic, std::max(old, value))
DEFINE_ATOMIC_INTEGERS(atomicAnd, atomic, old& value)
DEFINE_ATOMIC_INTEGERS(atomicOr, atomic, old | value)
DEFINE_ATOMIC_INTEGERS(atomicXor, atomic, old ^ value)
DEFINE_ATOMIC_INTEGERS(atomicExch, exchange, value)
DEFINE_ATOMIC(atomicExch, float, exchange, value)
DEFINE_ATOMIC(atomicInc, unsigned, atomic, old >= value ? 0 : old + 1)
DEFINE_ATOMIC(atomicDec, unsigned, atomic, old == 0 || old > value ? value : old - 1)

#define DEFINE_COMPARE_AND_SWAP(T)                                                             \
  T atomicCAS(T* address, T compare, T value) {                                                \
    return emulator::update(address, AccessKind::atomic, __builtin_return_address(0),          \
                            [compare, value](T old) { return old == compare ? value : old; }); \
  }
DEFINE_COMPARE_AND_SWAP(int)
DEFINE_COMPARE_AND_SWAP(unsigned)
DEFINE_COMPARE_AND_SWAP(unsigned long long)
DEFINE_COMPARE_AND_SWAP(unsigned short)
