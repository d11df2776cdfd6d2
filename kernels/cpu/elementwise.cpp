#include "kernels/checks/elementwise.h"

#include <type_traits>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/elementwise.h"
#include "kernels/cpu/tasks.h"

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
void with_types(const Tensor& x, const Tensor& y, const Run& run) {
  constexpr float* f32 = nullptr;
  constexpr bf16* half = nullptr;
  const bool x_is_f32 = x.dtype() == DType::f32;
  const bool y_is_f32 = y.dtype() == DType::f32;
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
  check_elementwise(op, x, y);
  with_types(x, y, [&](auto* from, auto* to) {
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
  check_fill(x, value);
  switch (x.dtype()) {
    case DType::f32:
      return fill_with(pool_, x, value);
    case DType::bf16:
      return fill_with(pool_, x, to_bf16(value));
    case DType::f64:
      return fill_with(pool_, x, static_cast<double>(value));
    case DType::i32:
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
  check_swap_leading(x, y);
  with_types(x, y, [&](auto* from, auto* to) {
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
