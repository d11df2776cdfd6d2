#pragma once

// Vectors for the row kernels, on the vector extensions of g++ and clang, so that one source serves every instruction
// set. The files of this directory are compiled once per instruction set into the namespace artel::cpu::ARTEL_ISA. They
// must not use inline functions or templates of other headers (std:: included, but for builtins): the linker would keep
// one copy, perhaps the one compiled for a processor that is not this one. Intrinsics are always inlined and allowed,
// but belong here.

#if defined(__SSE2__)
#include <immintrin.h>
#endif

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

// __builtin_convertvector between 16 and 32 bits takes g++ 12 twice the instructions that AVX2 has for it.
inline vfloat load(const bf16* p) {
#if defined(__AVX512F__)
  const vuint wide = (vuint)_mm512_maskz_cvtepu16_epi32((__mmask16)-1, _mm256_loadu_si256((const __m256i*)p));
#elif defined(__AVX2__)
  const vuint wide = (vuint)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p));
#else
  vhalf half;
  __builtin_memcpy(&half, p, sizeof half);
  const vuint wide = __builtin_convertvector(half, vuint);
#endif
  return (vfloat)(wide << 16);
}
/// Rounds to nearest, ties to even; NaN stays NaN. The comparison of floats and the single shift at the end matter:
/// this runs for every bf16 that is written.
inline void store(bf16* p, vfloat v) {
  const vuint bits = (vuint)v;
  const vuint rounded = bits + 0x7fffU + ((bits >> 16) & 1U);
  const vuint chosen = ((v != v) ? (bits | 0x400000U) : rounded) >> 16;
#if defined(__AVX2__) && !defined(__AVX512F__)
  const __m256i wide = (__m256i)chosen;
  _mm_storeu_si128((__m128i*)p, _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1)));
#else
  const vhalf half = __builtin_convertvector(chosen, vhalf);
  __builtin_memcpy((void*)p, &half, sizeof half);
#endif
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

inline vfloat select(vint mask, vfloat yes, vfloat no) {
  return mask ? yes : no;
}
/// The larger; `b` where either is NaN (and the same for min).
inline vfloat max(vfloat a, vfloat b) {
  return a > b ? a : b;
}
inline vfloat min(vfloat a, vfloat b) {
  return a < b ? a : b;
}
inline vfloat abs(vfloat a) {
  return (vfloat)((vint)a & 0x7fffffff);
}
inline vfloat sqrt(vfloat a) {
#if defined(__AVX512F__)
  return (vfloat)_mm512_maskz_sqrt_ps((__mmask16)-1, (__m512)a);  // the plain form warns in g++ 12
#elif defined(__AVX2__)
  return (vfloat)_mm256_sqrt_ps((__m256)a);
#elif defined(__SSE2__)
  return (vfloat)_mm_sqrt_ps((__m128)a);
#else
  for (int i = 0; i < width; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
#endif
}
inline float sqrt1(float a) {
  return sqrt(splat(a))[0];
}

/// The lanes moved so that lane i holds lane i + half, for the steps of a pairwise reduction.
template <int half>
inline vfloat rotate(vfloat v) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(v, v, half, half + 1, half + 2, half + 3, half + 4, half + 5, half + 6, half + 7,
                                 (half + 8) % 16, (half + 9) % 16, (half + 10) % 16, (half + 11) % 16, (half + 12) % 16,
                                 (half + 13) % 16, (half + 14) % 16, (half + 15) % 16);
#elif defined(__AVX2__)
  return __builtin_shufflevector(v, v, half, half + 1, half + 2, half + 3, (half + 4) % 8, (half + 5) % 8,
                                 (half + 6) % 8, (half + 7) % 8);
#else
  return __builtin_shufflevector(v, v, half, half + 1, (half + 2) % 4, (half + 3) % 4);
#endif
}
/// Sum of the lanes, pairwise: the same order whatever the data.
inline float reduce_add(vfloat v) {
#if defined(__AVX512F__)
  v += rotate<8>(v);
#endif
#if defined(__AVX2__)
  v += rotate<4>(v);
#endif
  v += rotate<2>(v);
  return v[0] + v[1];
}
inline float reduce_max(vfloat v) {
#if defined(__AVX512F__)
  v = max(v, rotate<8>(v));
#endif
#if defined(__AVX2__)
  v = max(v, rotate<4>(v));
#endif
  v = max(v, rotate<2>(v));
  return v[0] > v[1] ? v[0] : v[1];
}

/// The lanes of the lower or the upper halves of two vectors, in turn.
template <bool upper>
inline vfloat interleave(vfloat a, vfloat b) {
  constexpr int first = upper ? width / 2 : 0;
#if defined(__AVX512F__)
  return __builtin_shufflevector(a, b, first, first + 16, first + 1, first + 17, first + 2, first + 18, first + 3,
                                 first + 19, first + 4, first + 20, first + 5, first + 21, first + 6, first + 22,
                                 first + 7, first + 23);
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, first, first + 8, first + 1, first + 9, first + 2, first + 10, first + 3,
                                 first + 11);
#else
  return __builtin_shufflevector(a, b, first, first + 4, first + 1, first + 5);
#endif
}
/// A square of as many rows as a vector has lanes, transposed. Taking lanes of rows half the square apart in turn moves
/// the highest bit of an element's row below its column; after one such step per bit row and column have changed
/// places.
inline void transpose_block(vfloat (&rows)[width]) {
  for (int step = 1; step < width; step *= 2) {
    vfloat next[width];
    for (int i = 0; i < width / 2; ++i) {
      next[2 * i] = interleave<false>(rows[i], rows[i + width / 2]);
      next[2 * i + 1] = interleave<true>(rows[i], rows[i + width / 2]);
    }
    for (int i = 0; i < width; ++i) rows[i] = next[i];
  }
}

/// Lane i: element i of `low` in the lower half, that of `high` in the upper.
inline vfloat load_pairs(const bf16* low, const bf16* high) {
  return (vfloat)(((vuint)load(low) >> 16) | (vuint)load(high));
}

/// exp(x) to about 2 units in the last place: x = n·ln 2 + r, |r| <= ln 2 / 2, a polynomial of degree 7 in r, scaled by
/// 2^n. Below -86.99 the result is 0, above 88.72 infinity; NaN stays NaN. No comparison but the
/// two of the clamp: 2^n is applied as 2^(n-1) · 2, which overflows and vanishes where it should.
inline vfloat exp(vfloat x) {
  const vfloat clamped = max(splat(-87.0F), min(splat(89.0F), x));  // in this order NaN comes through
  const vfloat shifter = splat(12582912.0F);                        // 1.5 · 2^23: adding it rounds to an integer
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
  const vuint half_power = ((vuint)scaled - (vuint)shifter + 126U) << 23;
  return p * (vfloat)half_power * 2.0F;
}

/// log(x) of a positive normal number to about 2 units in the last place; anything else gives anything.
/// x = m·2^n with m from sqrt(1/2) to sqrt(2), and a polynomial of degree 9 in m - 1.
inline vfloat log_normal(vfloat x) {
  const vint n = ((vint)x - 0x3f3504f3) >> 23;
  const vfloat exponent = __builtin_convertvector(n, vfloat);
  const vfloat f = (vfloat)((vint)x - (n << 23)) - 1.0F;
  vfloat p = splat(7.0376836292e-2F);
  p = p * f - 1.1514610310e-1F;
  p = p * f + 1.1676998740e-1F;
  p = p * f - 1.2420140846e-1F;
  p = p * f + 1.4249322787e-1F;
  p = p * f - 1.6668057665e-1F;
  p = p * f + 2.0000714765e-1F;
  p = p * f - 2.4999993993e-1F;
  p = p * f + 3.3333331174e-1F;
  const vfloat square = f * f;
  p = p * f * square - exponent * 2.12194440e-4F - 0.5F * square;
  return f + p + exponent * 0.693359375F;
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

/// A whole vector, where a loop over a row tells whole vectors from its tail (a number of elements).
struct Whole {};
template <class T>
inline vfloat load_part(const T* p, Whole, float = 0.0F) {
  return load(p);
}
template <class T>
inline vfloat load_part(const T* p, std::int64_t n, float fill = 0.0F) {
  return load_tail(p, n, fill);
}
template <class T>
inline void store_part(T* p, vfloat v, Whole) {
  store(p, v);
}
template <class T>
inline void store_part(T* p, vfloat v, std::int64_t n) {
  store_tail(p, v, n);
}

/// body(i, part) for a row of n elements, vector by vector; `part` (of type auto) goes to load_part and store_part.
template <class Body>
inline void for_vectors(std::int64_t n, Body body) {
  std::int64_t i = 0;
  for (; i + width <= n; i += width) body(i, Whole{});
  if (i < n) body(i, n - i);
}
/// Sum over a row of the vectors that body(i, part) returns (0 in lanes beyond the tail), in four partial sums to hide
/// the latency of the addition; always in the same order.
template <class Body>
inline float sum_vectors(std::int64_t n, Body body) {
  vfloat sums[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * width <= n; i += 4 * width) {
    sums[0] += body(i, Whole{});
    sums[1] += body(i + width, Whole{});
    sums[2] += body(i + 2 * width, Whole{});
    sums[3] += body(i + 3 * width, Whole{});
  }
  for (; i + width <= n; i += width) sums[0] += body(i, Whole{});
  if (i < n) sums[1] += body(i, n - i);
  return reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace artel::cpu::ARTEL_ISA
