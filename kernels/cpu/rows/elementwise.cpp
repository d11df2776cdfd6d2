#include "kernels/cpu/rows/elementwise.h"

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

template <class From, class To>
void copy(const From* x, To* y, std::int64_t n) {
  for_vectors(n, [=](std::int64_t i, auto part) { store_part(y + i, load_part(x + i, part), part); });
}

template <class T>
void copy(const T* x, T* y, std::int64_t n) {
  __builtin_memcpy(y, x, (unsigned long)n * sizeof(T));
}

template <class From, class To>
void add(const From* x, To* y, std::int64_t n) {
  for_vectors(
      n, [=](std::int64_t i, auto part) { store_part(y + i, load_part(y + i, part) + load_part(x + i, part), part); });
}

template <class From, class To>
void transpose(const From* x, std::int64_t ld_x, std::int64_t num_rows, std::int64_t num_columns, To* y,
               std::int64_t ld_y) {
  const std::int64_t whole_rows = num_rows / width * width, whole_columns = num_columns / width * width;
  for (std::int64_t r = 0; r < whole_rows; r += width) {
    for (std::int64_t c = 0; c < whole_columns; c += width) {
      vfloat block[width];
      for (int i = 0; i < width; ++i) block[i] = load(x + (r + i) * ld_x + c);
      transpose_block(block);
      for (int i = 0; i < width; ++i) store(y + (c + i) * ld_y + r, block[i]);
    }
  }
  for (std::int64_t r = 0; r < num_rows; ++r) {
    for (std::int64_t c = r < whole_rows ? whole_columns : 0; c < num_columns; ++c) {
      store1(y + c * ld_y + r, load1(x + r * ld_x + c));
    }
  }
}

template <class From, class To>
void swap(const From* x, To* y, std::int64_t num_p, std::int64_t num_r, std::int64_t num_columns, std::int64_t begin,
          std::int64_t end, bool accumulate) {
  for (std::int64_t row = begin; row < end; ++row) {
    const From* from = x + (row % num_p * num_r + row / num_p) * num_columns;
    To* to = y + row * num_columns;
    if (accumulate) {
      add(from, to, num_columns);
    } else {
      copy(from, to, num_columns);
    }
  }
}

template <class From, class To>
constexpr ElementRows<From, To> element_rows = {[](const From* x, To* y, std::int64_t n) { copy(x, y, n); },
                                                add<From, To>, transpose<From, To>, swap<From, To>};

}  // namespace

extern const ElementRowsF32F32 element_rows_f32_f32;
extern const ElementRowsF32Bf16 element_rows_f32_bf16;
extern const ElementRowsBf16F32 element_rows_bf16_f32;
extern const ElementRowsBf16Bf16 element_rows_bf16_bf16;
const ElementRowsF32F32 element_rows_f32_f32 = element_rows<float, float>;
const ElementRowsF32Bf16 element_rows_f32_bf16 = element_rows<float, bf16>;
const ElementRowsBf16F32 element_rows_bf16_f32 = element_rows<bf16, float>;
const ElementRowsBf16Bf16 element_rows_bf16_bf16 = element_rows<bf16, bf16>;

}  // namespace artel::cpu::ARTEL_ISA
