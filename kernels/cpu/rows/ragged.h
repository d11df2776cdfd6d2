#pragma once

// For rows too short for a tail that goes element by element (the routing neurons of an expert): rows of a block follow
// each other in memory, so of the vector that holds the last n < width elements of a row, all lanes can be read as long
// as they lie inside the block, and written if what they spill over is written later. Blocks are worked on in ascending
// order, and of a row's vectors the ragged one comes first.

#include "kernels/cpu/rows/integers.h"
#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {

/// Lanes 0..n-1 set, the others clear.
inline vint first_lanes(std::int64_t n) {
  return lane_numbers() < (std::int32_t)n;
}

/// Lanes from n on hold anything; `end` is the end of the memory that may be read.
template <class T>
inline vfloat load_ragged(const T* p, std::int64_t n, const T* end) {
  return end - p >= width ? load(p) : load_tail(p, n);
}

/// May write all lanes where `end`, the end of the memory that may be written, allows it.
template <class T>
inline void store_ragged(T* p, vfloat v, std::int64_t n, const T* end) {
  if (end - p >= width) {
    store(p, v);
  } else {
    store_tail(p, v, n);
  }
}

}  // namespace artel::cpu::ARTEL_ISA
