#include "kernels/checks/rms_norm.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/elementwise.h"
#include "kernels/cpu/rows/rms_norm.h"
#include "kernels/cpu/tasks.h"
#include "util/error.h"

namespace artel {
namespace {

constexpr std::int64_t rows_per_chunk = 64;  // of the backward: each chunk has its own partial dw

template <class T>
void run_forward(ThreadPool& pool, const cpu::NormRows<T>& rows, In x, In delta, In w, float eps, Out sum, Out y,
                 Out rstd) {
  const std::int64_t d = x.size(1);
  const T* const px = x.data<T>();
  const T* const pdelta = delta.defined() ? delta.data<T>() : nullptr;
  const T* const pw = w.data<T>();
  T* const psum = delta.defined() ? sum.data<T>() : nullptr;
  T* const py = y.data<T>();
  float* const prstd = rstd.data<float>();
  for_chunks(pool, x.size(0), rows_per_task(d), [=, &rows](std::int64_t begin, std::int64_t end, int) {
    const std::int64_t at = begin * d;
    rows.forward(end - begin, d, px + at, pdelta == nullptr ? nullptr : pdelta + at, pw, eps,
                 psum == nullptr ? nullptr : psum + at, py + at, prstd + begin);
  });
}

/// partials: [chunks of rows, d].
template <class T>
void run_backward(ThreadPool& pool, const cpu::NormRows<T>& rows, In x, In w, In rstd, In dy, Out dx,
                  Accumulate accumulate_dx, float* partials) {
  const std::int64_t d = x.size(1);
  const T* const px = x.data<T>();
  const T* const pw = w.data<T>();
  const float* const prstd = rstd.data<float>();
  const T* const pdy = dy.data<T>();
  T* const pdx = dx.data<T>();
  const bool accumulate = accumulate_dx == Accumulate::yes;
  for_chunks(pool, x.size(0), rows_per_chunk, [=, &rows](std::int64_t begin, std::int64_t end, int) {
    const std::int64_t at = begin * d;
    rows.backward(end - begin, d, px + at, pw, prstd + begin, pdy + at, pdx + at, accumulate,
                  partials + begin / rows_per_chunk * d);
  });
}

}  // namespace

void CpuBackend::rms_norm(In x, In delta, In w, float eps, Out sum, Out y, Out rstd) {
  const DType act = check_rms_norm(x, delta, w, sum, y, rstd);
  if (act == DType::f32) {
    run_forward(pool_, cpu::norm_rows_f32(isa_), x, delta, w, eps, sum, y, rstd);
  } else {
    run_forward(pool_, cpu::norm_rows_bf16(isa_), x, delta, w, eps, sum, y, rstd);
  }
}

void CpuBackend::rms_norm_backward(In x, In w, In rstd, In dy, Out dx, Accumulate accumulate_dx, InOut dw) {
  const DType act = check_rms_norm_backward(x, w, rstd, dy, dx, dw);
  const std::int64_t d = x.size(1);
  const std::int64_t num_partials = num_chunks(x.size(0), rows_per_chunk);
  float* const partials = scratch(0, 0, num_partials * d);
  if (act == DType::f32) {
    run_backward(pool_, cpu::norm_rows_f32(isa_), x, w, rstd, dy, dx, accumulate_dx, partials);
  } else {
    run_backward(pool_, cpu::norm_rows_bf16(isa_), x, w, rstd, dy, dx, accumulate_dx, partials);
  }
  float* const pdw = dw.data<float>();
  const auto add_row = cpu::element_rows_f32_f32(isa_).add;
  for_chunks(pool_, d, rows_per_task(num_partials), [=](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = 1; i < num_partials; ++i) add_row(partials + i * d + begin, partials + begin, end - begin);
    if (num_partials > 0) add_row(partials + begin, pdw + begin, end - begin);
  });
}

}  // namespace artel
