#include "kernels/cpu/rows/rms_norm.h"

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

template <class T>
float sum_of_squares(const T* x, std::int64_t d) {
  return sum_vectors(d, [=](std::int64_t i, auto part) {
    const vfloat v = load_part(x + i, part);
    return v * v;
  });
}

/// sum = x + delta; the sum of squares of what was stored.
template <class T>
float add_rows(const T* x, const T* delta, T* sum, std::int64_t d) {
  return sum_vectors(d, [=](std::int64_t i, auto part) {
    store_part(sum + i, load_part(x + i, part) + load_part(delta + i, part), part);
    const vfloat v = load_part(sum + i, part);
    return v * v;
  });
}

template <class T>
void forward(std::int64_t num_rows, std::int64_t d, const T* x, const T* delta, const T* w, float eps, T* sum, T* y,
             float* rstd) {
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const T* normed = x + row * d;
    float squares;
    if (delta != nullptr) {
      squares = add_rows(normed, delta + row * d, sum + row * d, d);
      normed = sum + row * d;
    } else {
      squares = sum_of_squares(normed, d);
    }
    const float scale = 1.0F / sqrt1(squares / (float)d + eps);
    rstd[row] = scale;
    T* out = y + row * d;
    for_vectors(d, [=](std::int64_t i, auto part) {
      store_part(out + i, load_part(normed + i, part) * scale * load_part(w + i, part), part);
    });
  }
}

/// With n = x·rstd and g = dy·w: dx = rstd·(g - n·mean(g·n)), dw += dy·n.
template <class T, bool accumulate_dx>
void backward_row(const T* x, const T* w, float rstd, const T* dy, T* dx, float* dw, std::int64_t d) {
  const float dot = sum_vectors(d, [=](std::int64_t i, auto part) {
    return load_part(dy + i, part) * load_part(w + i, part) * load_part(x + i, part);
  });
  const float pull = dot * rstd * rstd / (float)d;  // mean(g·n)·rstd, against x
  for_vectors(d, [=](std::int64_t i, auto part) {
    const vfloat vx = load_part(x + i, part);
    const vfloat vdy = load_part(dy + i, part);
    vfloat vdx = rstd * (vdy * load_part(w + i, part) - vx * pull);
    if (accumulate_dx) vdx += load_part(dx + i, part);
    store_part(dx + i, vdx, part);
    store_part(dw + i, load_part(dw + i, part) + vdy * (vx * rstd), part);
  });
}

template <class T>
void backward(std::int64_t num_rows, std::int64_t d, const T* x, const T* w, const float* rstd, const T* dy, T* dx,
              bool accumulate_dx, float* dw) {
  for_vectors(d, [=](std::int64_t i, auto part) { store_part(dw + i, vfloat{}, part); });
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const std::int64_t at = row * d;
    if (accumulate_dx) {
      backward_row<T, true>(x + at, w, rstd[row], dy + at, dx + at, dw, d);
    } else {
      backward_row<T, false>(x + at, w, rstd[row], dy + at, dx + at, dw, d);
    }
  }
}

}  // namespace

extern const NormRows<float> norm_rows_f32;
extern const NormRows<bf16> norm_rows_bf16;
const NormRows<float> norm_rows_f32 = {forward<float>, backward<float>};
const NormRows<bf16> norm_rows_bf16 = {forward<bf16>, backward<bf16>};

}  // namespace artel::cpu::ARTEL_ISA
