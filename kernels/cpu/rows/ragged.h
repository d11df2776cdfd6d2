#pragma once

// For rows too short for a tail that goes element by element (the routing neurons of an expert): rows of a block follow
// each other in memory, so of the vector that holds the last n < width elements of a row, all lanes can be read as long
// as they lie inside the block, and written if what they spill over is written later. Blocks are worked on in ascending
// order, and of a row's vectors the ragged one comes first.

#include "kernels/cpu/rows/integers.h"
#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {

/// body(i, part) for a row of n elements, vector by vector, the ragged one first; `part` (of type auto) goes to the
/// functions below.
template <class Body>
inline void for_ragged_vectors(std::int64_t n, Body body) {
  const std::int64_t whole = n / width * width;
  if (whole < n) body(whole, n - whole);
  for (std::int64_t i = 0; i < whole; i += width) body(i, Whole{});
}

// At the end of a block, element by element; out of line, for it is rare and long.
template <class T>
__attribute__((noinline)) vfloat load_last(const T* p, std::int64_t n) {
  return load_tail(p, n);
}
template <class T>
__attribute__((noinline)) void store_last(T* p, vfloat v, std::int64_t n) {
  store_tail(p, v, n);
}

/// Lanes beyond the row hold anything; `end` is the end of the memory that may be read.
template <class T>
inline vfloat load_ragged(const T* p, std::int64_t n, const T* end) {
  return end - p >= width ? load(p) : load_last(p, n);
}
template <class T>
inline vfloat load_ragged(const T* p, Whole, const T*) {
  return load(p);
}

/// May write all lanes where `end`, the end of the memory that may be written, allows it.
template <class T>
inline void store_ragged(T* p, vfloat v, std::int64_t n, const T* end) {
  if (end - p >= width) {
    store(p, v);
  } else {
    store_last(p, v, n);
  }
}
template <class T>
inline void store_ragged(T* p, vfloat v, Whole, const T*) {
  store(p, v);
}

/// 0 in the lanes beyond the row.
inline vfloat cut_ragged(vfloat v, std::int64_t n) {
  return select(lane_numbers() < (std::int32_t)n, v, vfloat{});
}
inline vfloat cut_ragged(vfloat v, Whole) {
  return v;
}

}  // namespace artel::cpu::ARTEL_ISA
