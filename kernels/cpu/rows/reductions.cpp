#include "kernels/cpu/rows/reductions.h"

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

constexpr int double_width = width / 2;
typedef float vfloat_narrow __attribute__((vector_size(double_width * 4)));
typedef double vdouble __attribute__((vector_size(double_width * 8)));

inline vdouble load_double(const float* p) {
  vfloat_narrow v;
  __builtin_memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, vdouble);
}

template <bool squared>
double reduce(const float* x, std::int64_t n) {
  vdouble sums[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * double_width <= n; i += 4 * double_width) {
    for (int k = 0; k < 4; ++k) {
      const vdouble v = load_double(x + i + k * double_width);
      sums[k] += squared ? v * v : v;
    }
  }
  const vdouble total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double result = 0.0;
  for (int lane = 0; lane < double_width; ++lane) result += total[lane];
  for (; i < n; ++i) result += squared ? (double)x[i] * x[i] : (double)x[i];
  return result;
}

}  // namespace

extern const ReductionRows reduction_rows;
const ReductionRows reduction_rows = {reduce<false>, reduce<true>};

}  // namespace artel::cpu::ARTEL_ISA
