#pragma once

// Vectors for the row kernels, on the vector extensions of g++ and clang, so that one source serves every instruction
// set. The files of this directory are compiled once per instruction set into the namespace artel::cpu::ARTEL_ISA. They
// must not use inline functions or templates of other headers (std:: included, but for builtins): the linker would keep
// one copy, perhaps the one compiled for a processor that is not this one.

#include <cstdint>

#include "core/dtype.h"

namespace artel::cpu::ARTEL_ISA {

#if defined(__AVX512F__)
constexpr int width = 16;
#elif defined(__AVX2__)
constexpr int width = 8;
#else
constexpr int width = 4;
#endif

typedef float vfloat __attribute__((vector_size(width * 4)));
typedef std::int32_t vint __attribute__((vector_size(width * 4)));
typedef std::uint32_t vuint __attribute__((vector_size(width * 4)));
typedef std::uint16_t vhalf __attribute__((vector_size(width * 2)));

inline vfloat splat(float x) {
  return x - vfloat{};
}

inline vfloat load(const float* p) {
  vfloat v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, vfloat v) {
  __builtin_memcpy(p, &v, sizeof v);
}

inline vfloat load(const bf16* p) {
  vhalf half;
  __builtin_memcpy(&half, p, sizeof half);
  const vuint bits = __builtin_convertvector(half, vuint) << 16;
  return (vfloat)bits;
}
inline void store(bf16* p, vfloat v) {
  const vuint bits = (vuint)v;
  const vuint rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const vuint quiet = (bits >> 16) | 0x40U;
  const vint is_nan = (vint)((bits & 0x7fffffffU) > 0x7f800000U);
  const vuint chosen = ((vuint)is_nan & quiet) | (~(vuint)is_nan & rounded);
  const vhalf half = __builtin_convertvector(chosen, vhalf);
  __builtin_memcpy((void*)p, &half, sizeof half);
}

// Scalars for the tails of rows.
inline float load1(const float* p) {
  return *p;
}
inline float load1(const bf16* p) {
  const std::uint32_t bits = (std::uint32_t)p->bits << 16;
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
inline void store1(float* p, float x) {
  *p = x;
}
inline void store1(bf16* p, float x) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  const bool is_nan = (bits & 0x7fffffffU) > 0x7f800000U;
  p->bits = (std::uint16_t)(is_nan ? (bits >> 16) | 0x40U : (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

/// Sum of the lanes, pairwise: the same order whatever the data.
inline float reduce_add(vfloat v) {
  float lanes[width];
  __builtin_memcpy(lanes, &v, sizeof v);
  for (int half = width / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}
inline float reduce_max(vfloat v) {
  float lanes[width];
  __builtin_memcpy(lanes, &v, sizeof v);
  float best = lanes[0];
  for (int i = 1; i < width; ++i) best = lanes[i] > best ? lanes[i] : best;
  return best;
}
inline vfloat select(vint mask, vfloat yes, vfloat no) {
  return (vfloat)((mask & (vint)yes) | (~mask & (vint)no));
}
inline vfloat max(vfloat a, vfloat b) {
  return select(a > b, a, b);
}
inline vfloat min(vfloat a, vfloat b) {
  return select(a < b, a, b);
}
inline vfloat abs(vfloat a) {
  return (vfloat)((vint)a & 0x7fffffff);
}

/// exp(x) to about 2 units in the last place: x = n·ln 2 + r, |r| <= ln 2 / 2, a polynomial of degree 6 in r, scaled by
/// 2^n. Below -87.3 the result is 0 or nearly so, above 88.3 it is infinity; NaN stays NaN.
inline vfloat exp(vfloat x) {
  const vfloat clamped = max(min(x, splat(88.3762626647949F)), splat(-87.3365447504019F));
  const vfloat shifter = splat(12582912.0F);  // 1.5 · 2^23: adding and subtracting it rounds to an integer
  const vfloat scaled = clamped * 1.44269504088896341F + shifter;
  const vfloat n = scaled - shifter;
  const vfloat r = (clamped - n * 0.693359375F) - n * -2.12194440e-4F;
  vfloat p = splat(1.9875691500e-4F);
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  const vint exponent = ((vint)scaled - (vint)shifter) << 23;
  const vfloat result = (vfloat)((vint)p + exponent);
  const vfloat infinity = splat(__builtin_inff());
  const vfloat bounded =
      select(x > splat(88.3762626647949F), infinity, select(x < splat(-87.3365447504019F), vfloat{}, result));
  return select(x == x, bounded, x);
}

inline vfloat sigmoid(vfloat x) {
  return 1.0F / (1.0F + exp(-x));
}

/// One element through the vector code, so that tails agree with full vectors to the bit.
inline float exp1(float x) {
  return exp(splat(x))[0];
}
inline float sigmoid1(float x) {
  return sigmoid(splat(x))[0];
}

/// Loads n < width elements; the rest is `fill`.
template <class T>
inline vfloat load_tail(const T* p, std::int64_t n, float fill = 0.0F) {
  float lanes[width];
  for (int i = 0; i < width; ++i) lanes[i] = i < n ? load1(p + i) : fill;
  return load(lanes);
}
template <class T>
inline void store_tail(T* p, vfloat v, std::int64_t n) {
  float lanes[width];
  store(lanes, v);
  for (std::int64_t i = 0; i < n; ++i) store1(p + i, lanes[i]);
}

}  // namespace artel::cpu::ARTEL_ISA
