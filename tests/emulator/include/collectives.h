#pragma once

// Part of the prelude emulator.h: barriers, warp collectives, atomics.

EMULATOR_INLINE void __syncthreads(EMULATOR_AT) {
  emulator::block_barrier(emulator::Reduction::count, false, at);
}
EMULATOR_INLINE int __syncthreads_count(int predicate, EMULATOR_AT) {
  return emulator::block_barrier(emulator::Reduction::count, predicate != 0, at);
}
EMULATOR_INLINE int __syncthreads_and(int predicate, EMULATOR_AT) {
  return emulator::block_barrier(emulator::Reduction::all, predicate != 0, at);
}
EMULATOR_INLINE int __syncthreads_or(int predicate, EMULATOR_AT) {
  return emulator::block_barrier(emulator::Reduction::any, predicate != 0, at);
}
EMULATOR_INLINE void __syncwarp(unsigned mask = 0xffffffffU, EMULATOR_AT) {
  emulator::warp_sync(mask, at);
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

namespace emulator {

template <class T>
EMULATOR_INLINE T shuffle(unsigned mask, T value, int source, Line at) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>, "shuffles move at most 8 bytes");
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  bits = warp_shuffle(mask, bits, source, at);
  __builtin_memcpy(&value, &bits, sizeof(T));
  return value;
}
/// First lane of the part of the warp, `width` lanes wide, that the calling lane belongs to.
EMULATOR_INLINE int first_of_part(int width) {
  return lane_id() & ~(width - 1);
}

}  // namespace emulator

template <class T>
EMULATOR_INLINE T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATOR_AT) {
  return emulator::shuffle(mask, value, emulator::first_of_part(width) + (source & (width - 1)), at);
}
template <class T>
EMULATOR_INLINE T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, EMULATOR_AT) {
  const int lane = emulator::lane_id();
  const int source = lane ^ lane_mask;
  return emulator::shuffle(mask, value, source >= emulator::first_of_part(width) + width ? lane : source, at);
}
template <class T>
EMULATOR_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_AT) {
  const int lane = emulator::lane_id();
  const int source = lane + static_cast<int>(delta);
  return emulator::shuffle(mask, value, source >= emulator::first_of_part(width) + width ? lane : source, at);
}
template <class T>
EMULATOR_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_AT) {
  const int lane = emulator::lane_id();
  const int source = lane - static_cast<int>(delta);
  return emulator::shuffle(mask, value, source < emulator::first_of_part(width) ? lane : source, at);
}
EMULATOR_INLINE unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_AT) {
  return emulator::warp_ballot(mask, predicate != 0, at);
}
EMULATOR_INLINE int __any_sync(unsigned mask, int predicate, EMULATOR_AT) {
  return emulator::warp_ballot(mask, predicate != 0, at) != 0;
}
EMULATOR_INLINE int __all_sync(unsigned mask, int predicate, EMULATOR_AT) {
  return emulator::warp_ballot(mask, predicate == 0, at) == 0;
}
template <class T>
EMULATOR_INLINE unsigned __match_any_sync(unsigned mask, T value, EMULATOR_AT) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>, "matches compare at most 8 bytes");
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  return emulator::warp_match(mask, bits, at);
}

#define EMULATOR_REDUCE(name, T, operation)                                                                 \
  EMULATOR_INLINE T name(unsigned mask, T value, EMULATOR_AT) {                                             \
    return static_cast<T>(                                                                                  \
        emulator::warp_reduce(mask, static_cast<unsigned>(value), emulator::WarpReduction::operation, at)); \
  }
EMULATOR_REDUCE(__reduce_add_sync, unsigned, add)
EMULATOR_REDUCE(__reduce_add_sync, int, add)
EMULATOR_REDUCE(__reduce_min_sync, unsigned, min_unsigned)
EMULATOR_REDUCE(__reduce_min_sync, int, min)
EMULATOR_REDUCE(__reduce_max_sync, unsigned, max_unsigned)
EMULATOR_REDUCE(__reduce_max_sync, int, max)
EMULATOR_REDUCE(__reduce_and_sync, unsigned, bit_and)
EMULATOR_REDUCE(__reduce_or_sync, unsigned, bit_or)
EMULATOR_REDUCE(__reduce_xor_sync, unsigned, bit_xor)
#undef EMULATOR_REDUCE

// atomics.cpp: never instrumented as plain accesses.
#define EMULATOR_ATOMIC(name, T) T name(T* address, T value);
EMULATOR_ATOMIC(atomicAdd, float)
EMULATOR_ATOMIC(atomicAdd, double)
EMULATOR_ATOMIC(atomicAdd, int)
EMULATOR_ATOMIC(atomicAdd, unsigned)
EMULATOR_ATOMIC(atomicAdd, unsigned long long)
EMULATOR_ATOMIC(atomicSub, int)
EMULATOR_ATOMIC(atomicSub, unsigned)
#define EMULATOR_ATOMIC_INTEGERS(name) \
  EMULATOR_ATOMIC(name, int)           \
  EMULATOR_ATOMIC(name, unsigned)      \
  EMULATOR_ATOMIC(name, unsigned long long)
EMULATOR_ATOMIC_INTEGERS(atomicMin)
EMULATOR_ATOMIC(atomicMin, long long)
EMULATOR_ATOMIC_INTEGERS(atomicMax)
EMULATOR_ATOMIC(atomicMax, long long)
EMULATOR_ATOMIC_INTEGERS(atomicAnd)
EMULATOR_ATOMIC_INTEGERS(atomicOr)
EMULATOR_ATOMIC_INTEGERS(atomicXor)
EMULATOR_ATOMIC_INTEGERS(atomicExch)
EMULATOR_ATOMIC(atomicExch, float)
EMULATOR_ATOMIC(atomicInc, unsigned)
EMULATOR_ATOMIC(atomicDec, unsigned)
#undef EMULATOR_ATOMIC_INTEGERS
#undef EMULATOR_ATOMIC
int atomicCAS(int* address, int compare, int value);
unsigned atomicCAS(unsigned* address, unsigned compare, unsigned value);
unsigned long long atomicCAS(unsigned long long* address, unsigned long long compare, unsigned long long value);
unsigned short atomicCAS(unsigned short* address, unsigned short compare, unsigned short value);
