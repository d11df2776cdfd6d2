#pragma once

// Vectors of 32-bit integers: ids, sort keys, numbers of lanes.

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {

/// n rounded up to whole vectors.
inline std::int64_t whole_vectors(std::int64_t n) {
  return (n + width - 1) / width * width;
}

inline vint splat_int(std::int32_t x) {
  return x - vint{};
}
inline vint load_int(const std::int32_t* p) {
  vint v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
inline void store_int(std::int32_t* p, vint v) {
  __builtin_memcpy(p, &v, sizeof v);
}
/// Lane i holds i.
inline vint lane_numbers() {
  vint lanes;
  for (int i = 0; i < width; ++i) lanes[i] = i;
  return lanes;
}

template <int half>
inline vint larger_of_rotated(vint v) {
  const vint rotated = (vint)rotate<half>((vfloat)v);
  return v > rotated ? v : rotated;
}
/// The largest lane, in all lanes.
inline vint largest_lane(vint v) {
#if defined(__AVX512F__)
  v = larger_of_rotated<8>(v);
#endif
#if defined(__AVX2__)
  v = larger_of_rotated<4>(v);
#endif
  return larger_of_rotated<1>(larger_of_rotated<2>(v));
}

}  // namespace artel::cpu::ARTEL_ISA
