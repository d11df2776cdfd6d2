#pragma once

// Part of the prelude emulator.h: loads and stores with cache hints, arithmetic, bits. Fast approximations of the
// device are the exact functions here: what kernels' tests allow must cover the difference.

#define EMULATOR_LOAD(name)                  \
  template <class T>                         \
  EMULATOR_INLINE T name(const T* address) { \
    return *address;                         \
  }
EMULATOR_LOAD(__ldg)
EMULATOR_LOAD(__ldca)
EMULATOR_LOAD(__ldcg)
EMULATOR_LOAD(__ldcs)
EMULATOR_LOAD(__ldlu)
EMULATOR_LOAD(__ldcv)
#undef EMULATOR_LOAD
#define EMULATOR_STORE(name)                              \
  template <class T>                                      \
  EMULATOR_INLINE void name(T* address, const T& value) { \
    *address = value;                                     \
  }
EMULATOR_STORE(__stwb)
EMULATOR_STORE(__stcg)
EMULATOR_STORE(__stcs)
EMULATOR_STORE(__stwt)
#undef EMULATOR_STORE

// The C library declares some of these names for itself, without definitions that anybody else may use.
inline float __expf(float x) noexcept {
  return expf(x);
}
inline float __exp10f(float x) noexcept {
  return exp10f(x);
}
inline float __logf(float x) noexcept {
  return logf(x);
}
inline float __log2f(float x) noexcept {
  return log2f(x);
}
inline float __log10f(float x) noexcept {
  return log10f(x);
}
inline float __sinf(float x) noexcept {
  return sinf(x);
}
inline float __cosf(float x) noexcept {
  return cosf(x);
}
inline float __powf(float x, float y) noexcept {
  return powf(x, y);
}
inline void __sincosf(float x, float* sine, float* cosine) noexcept {
  *sine = sinf(x);
  *cosine = cosf(x);
}
/// 0 for a divisor beyond 2^126, as on the device.
inline float __fdividef(float a, float b) {
  return fabsf(b) > 0x1p126F && std::isfinite(b) ? a * 0.0F : a / b;
}
inline float __saturatef(float x) {
  return x > 0 ? (x < 1 ? x : 1.0F) : 0.0F;
}
inline float rsqrtf(float x) {
  return 1.0F / sqrtf(x);
}
inline double rsqrt(double x) {
  return 1.0 / sqrt(x);
}
inline float __frsqrt_rn(float x) {
  return static_cast<float>(1.0 / sqrt(static_cast<double>(x)));
}
inline float __frcp_rn(float x) {
  return 1.0F / x;
}
inline float __fsqrt_rn(float x) {
  return sqrtf(x);
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fsub_rn(float a, float b) {
  return a - b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fdiv_rn(float a, float b) {
  return a / b;
}
inline float __fmaf_rn(float a, float b, float c) {
  return fmaf(a, b, c);
}
inline double __dadd_rn(double a, double b) {
  return a + b;
}
inline double __dsub_rn(double a, double b) {
  return a - b;
}
inline double __dmul_rn(double a, double b) {
  return a * b;
}
inline double __ddiv_rn(double a, double b) {
  return a / b;
}
inline double __fma_rn(double a, double b, double c) {
  return fma(a, b, c);
}

inline int __float2int_rn(float x) {
  return static_cast<int>(rintf(x));
}
inline int __float2int_rz(float x) {
  return static_cast<int>(x);
}
inline int __float2int_rd(float x) {
  return static_cast<int>(floorf(x));
}
inline int __float2int_ru(float x) {
  return static_cast<int>(ceilf(x));
}
inline float __int2float_rn(int x) {
  return static_cast<float>(x);
}
inline float __uint2float_rn(unsigned x) {
  return static_cast<float>(x);
}
inline float __ll2float_rn(long long x) {
  return static_cast<float>(x);
}
inline float __double2float_rn(double x) {
  return static_cast<float>(x);
}

namespace emulator {
template <class To, class From>
EMULATOR_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}
}  // namespace emulator

inline float __int_as_float(int x) {
  return emulator::bits_as<float>(x);
}
inline float __uint_as_float(unsigned x) {
  return emulator::bits_as<float>(x);
}
inline int __float_as_int(float x) {
  return emulator::bits_as<int>(x);
}
inline unsigned __float_as_uint(float x) {
  return emulator::bits_as<unsigned>(x);
}
inline double __longlong_as_double(long long x) {
  return emulator::bits_as<double>(x);
}
inline long long __double_as_longlong(double x) {
  return emulator::bits_as<long long>(x);
}

inline int __popc(unsigned x) {
  return __builtin_popcount(x);
}
inline int __popcll(unsigned long long x) {
  return __builtin_popcountll(x);
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
inline int __ffsll(long long x) {
  return __builtin_ffsll(x);
}
inline int __clz(int x) {
  return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}
inline int __clzll(long long x) {
  return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x));
}
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1U) << (31 - bit);
  return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline int __mulhi(int a, int b) {
  return static_cast<int>(static_cast<long long>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((static_cast<unsigned long long>(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (shift & 31));
}

// The overloads of min and max that CUDA has, and no others: a call that is ambiguous there is so here.
#define EMULATOR_MIN_MAX(R, A, B)                                                         \
  EMULATOR_INLINE R min(A a, B b) {                                                       \
    return static_cast<R>(a) < static_cast<R>(b) ? static_cast<R>(a) : static_cast<R>(b); \
  }                                                                                       \
  EMULATOR_INLINE R max(A a, B b) {                                                       \
    return static_cast<R>(a) > static_cast<R>(b) ? static_cast<R>(a) : static_cast<R>(b); \
  }
#define EMULATOR_MIN_MAX_INTEGERS(S, U) \
  EMULATOR_MIN_MAX(S, S, S)             \
  EMULATOR_MIN_MAX(U, U, U)             \
  EMULATOR_MIN_MAX(U, S, U)             \
  EMULATOR_MIN_MAX(U, U, S)
EMULATOR_MIN_MAX_INTEGERS(int, unsigned)
EMULATOR_MIN_MAX_INTEGERS(long, unsigned long)
EMULATOR_MIN_MAX_INTEGERS(long long, unsigned long long)
#undef EMULATOR_MIN_MAX_INTEGERS
#undef EMULATOR_MIN_MAX
EMULATOR_INLINE float min(float a, float b) {
  return fminf(a, b);
}
EMULATOR_INLINE float max(float a, float b) {
  return fmaxf(a, b);
}
EMULATOR_INLINE double min(double a, double b) {
  return fmin(a, b);
}
EMULATOR_INLINE double max(double a, double b) {
  return fmax(a, b);
}
EMULATOR_INLINE double min(float a, double b) {
  return fmin(static_cast<double>(a), b);
}
EMULATOR_INLINE double max(float a, double b) {
  return fmax(static_cast<double>(a), b);
}
EMULATOR_INLINE double min(double a, float b) {
  return fmin(a, static_cast<double>(b));
}
EMULATOR_INLINE double max(double a, float b) {
  return fmax(a, static_cast<double>(b));
}
