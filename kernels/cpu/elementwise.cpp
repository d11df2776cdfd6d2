#include <cmath>
#include <string>
#include <type_traits>

#include "kernels/checks/checks.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/elementwise.h"
#include "kernels/cpu/tasks.h"
#include "util/error.h"

namespace artel {
namespace {

template <class From, class To>
const cpu::ElementRows<From, To>& element_rows(cpu::Isa isa) {
  if constexpr (std::is_same_v<From, float>) {
    if constexpr (std::is_same_v<To, float>) {
      return cpu::element_rows_f32_f32(isa);
    } else {
      return cpu::element_rows_f32_bf16(isa);
    }
  } else if constexpr (std::is_same_v<To, float>) {
    return cpu::element_rows_bf16_f32(isa);
  } else {
    return cpu::element_rows_bf16_bf16(isa);
  }
}

/// run(from, to) with null pointers that carry the element types of x and y, each f32 or bf16.
template <class Run>
void with_types(const char* op, const Tensor& x, const Tensor& y, const Run& run) {
  constexpr float* f32 = nullptr;
  constexpr bf16* half = nullptr;
  const bool x_is_f32 = check_act(op, "x", x) == DType::f32;
  const bool y_is_f32 = check_act(op, "y", y) == DType::f32;
  if (x_is_f32) {
    y_is_f32 ? run(f32, f32) : run(f32, half);
  } else {
    y_is_f32 ? run(half, f32) : run(half, half);
  }
}

/// The row function that `pick` takes from the table of the types of x and y, over chunks of both.
template <class Pick>
void run_elementwise(ThreadPool& pool, cpu::Isa isa, const char* op, const Tensor& x, const Tensor& y,
                     const Pick& pick) {
  check_contiguous(op, "x", x);
  check_contiguous(op, "y", y);
  if (x.numel() != y.numel()) {
    fail(op, "required x and y of the same number of elements, found " + x.shape().to_string() + " and " +
                 y.shape().to_string());
  }
  with_types(op, x, y, [&](auto* from, auto* to) {
    using From = std::remove_pointer_t<decltype(from)>;
    using To = std::remove_pointer_t<decltype(to)>;
    const From* const px = x.data<From>();
    To* const py = y.data<To>();
    const auto row = pick(element_rows<From, To>(isa));
    for_chunks(pool, x.numel(), elements_per_task,
               [=](std::int64_t begin, std::int64_t end, int) { row(px + begin, py + begin, end - begin); });
  });
}

template <class T>
void fill_with(ThreadPool& pool, const Tensor& x, T value) {
  T* const data = x.data<T>();
  for_chunks(pool, x.numel(), elements_per_task,
             [=](std::int64_t begin, std::int64_t end, int) { std::fill(data + begin, data + end, value); });
}

}  // namespace

void CpuBackend::fill(Out x, float value) {
  check_contiguous("fill", "x", x);
  switch (x.dtype()) {
    case DType::f32:
      return fill_with(pool_, x, value);
    case DType::bf16:
      return fill_with(pool_, x, to_bf16(value));
    case DType::f64:
      return fill_with(pool_, x, static_cast<double>(value));
    case DType::i32:
      if (!(value >= -0x1p31F && value < 0x1p31F) || value != std::floor(value)) {
        fail("fill", "required a whole number for a tensor of type i32, found " + std::to_string(value));
      }
      return fill_with(pool_, x, static_cast<std::int32_t>(value));
  }
}

void CpuBackend::copy(In x, Out y) {
  run_elementwise(pool_, isa_, "copy", x, y, [](const auto& rows) { return rows.copy; });
}

void CpuBackend::add(In x, InOut y) {
  run_elementwise(pool_, isa_, "add", x, y, [](const auto& rows) { return rows.add; });
}

void CpuBackend::swap_leading(In x, Out y, Accumulate accumulate) {
  check_rank("swap_leading", "x", x, 3);
  check_contiguous("swap_leading", "x", x);
  check_shape("swap_leading", "y", y, {x.size(1), x.size(0), x.size(2)});
  check_contiguous("swap_leading", "y", y);
  with_types("swap_leading", x, y, [&](auto* from, auto* to) {
    using From = std::remove_pointer_t<decltype(from)>;
    using To = std::remove_pointer_t<decltype(to)>;
    const From* const px = x.data<From>();
    To* const py = y.data<To>();
    const std::int64_t p = x.size(0);
    const std::int64_t r = x.size(1);
    const std::int64_t c = x.size(2);
    const auto swap_rows = element_rows<From, To>(isa_).swap;
    for_chunks(pool_, p * r, rows_per_task(c), [=](std::int64_t begin, std::int64_t end, int) {
      swap_rows(px, py, p, r, c, begin, end, accumulate == Accumulate::yes);
    });
  });
}

}  // namespace artel
