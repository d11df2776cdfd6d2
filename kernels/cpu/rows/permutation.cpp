#include "kernels/cpu/rows/permutation.h"

#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {
namespace {

template <class T>
void scatter_add(const T* x, std::int64_t x_stride, const std::int32_t* index, std::int64_t num_rows, T* y,
                 std::int64_t y_stride, std::int64_t size) {
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const T* from = x + row * x_stride;
    T* to = y + index[row] * y_stride;
    for_vectors(size, [&](std::int64_t i, auto part) {
      store_part(to + i, load_part(to + i, part) + load_part(from + i, part), part);
    });
  }
}

template <class T>
void sum(const T* x, std::int64_t x_stride, const std::int32_t* token_offsets, const std::int32_t* row_of_slot,
         std::int64_t num_tokens, T* y, std::int64_t y_stride, std::int64_t size, bool accumulate) {
  for (std::int64_t token = 0; token < num_tokens; ++token) {
    const std::int32_t* const begin = row_of_slot + token_offsets[token];
    const std::int32_t* const end = row_of_slot + token_offsets[token + 1];
    T* const to = y + token * y_stride;
    for_vectors(size, [&](std::int64_t i, auto part) {
      vfloat total{};
      for (const std::int32_t* row = begin; row != end; ++row) total += load_part(x + *row * x_stride + i, part);
      if (accumulate) total += load_part(to + i, part);
      store_part(to + i, total, part);
    });
  }
}

}  // namespace

extern const PermutationRows<float> permutation_rows_f32;
const PermutationRows<float> permutation_rows_f32 = {scatter_add<float>, sum<float>};
extern const PermutationRows<bf16> permutation_rows_bf16;
const PermutationRows<bf16> permutation_rows_bf16 = {scatter_add<bf16>, sum<bf16>};

}  // namespace artel::cpu::ARTEL_ISA
