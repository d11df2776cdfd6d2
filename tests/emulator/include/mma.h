#pragma once

// Stands in for the toolkit's mma.h when the host compiler builds a .cu file: the 16x16x16 products of bf16 matrices
// with float sums. Which lane holds which element is random, so that code which relies on a layout fails; a fragment
// that nobody filled holds NaN.
#include <cuda_bf16.h>

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

namespace detail {

template <class Use>
constexpr int index_of_use = std::is_same_v<Use, matrix_a>   ? 0
                             : std::is_same_v<Use, matrix_b> ? 1
                                                             : 2;

/// Offset in memory of element `index` of the calling lane's fragment.
template <class Use>
EMULATOR_INLINE std::size_t offset_of(int index, unsigned leading, bool columns) {
  const int element = emulator::fragment_element(index_of_use<Use>, emulator::lane_id(), index);
  const auto row = static_cast<std::size_t>(element / 16);
  const auto column = static_cast<std::size_t>(element % 16);
  return columns ? column * leading + row : row * leading + column;
}

}  // namespace detail

template <class Use, int m, int n, int k, class T, class Layout = void>
struct fragment {
  static_assert(m == 16 && n == 16 && k == 16, "the emulator has 16x16x16 fragments");
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, __nv_bfloat16>, "of bf16 and float");
  static constexpr int num_elements = 8;
  using element_type = T;
  T x[num_elements];
  fragment() { __builtin_memset(static_cast<void*>(x), 0xff, sizeof x); }
};

template <class Use, class T, class Layout>
EMULATOR_INLINE void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout>& to, const T* from, unsigned leading,
                                      EMULATOR_AT) {
  emulator::warp_matrix(from, leading * sizeof(T), at);
  for (int i = 0; i < to.num_elements; ++i) {
    to.x[i] = from[detail::offset_of<Use>(i, leading, std::is_same_v<Layout, col_major>)];
  }
}
template <class T>
EMULATOR_INLINE void load_matrix_sync(fragment<accumulator, 16, 16, 16, T>& to, const T* from, unsigned leading,
                                      layout_t layout, EMULATOR_AT) {
  emulator::warp_matrix(from, leading * sizeof(T), at);
  for (int i = 0; i < to.num_elements; ++i) {
    to.x[i] = from[detail::offset_of<accumulator>(i, leading, layout == mem_col_major)];
  }
}
template <class T>
EMULATOR_INLINE void store_matrix_sync(T* to, const fragment<accumulator, 16, 16, 16, T>& from, unsigned leading,
                                       layout_t layout, EMULATOR_AT) {
  emulator::warp_matrix(to, leading * sizeof(T), at);
  for (int i = 0; i < from.num_elements; ++i) {
    to[detail::offset_of<accumulator>(i, leading, layout == mem_col_major)] = from.x[i];
  }
}
template <class Use, class T, class Layout>
EMULATOR_INLINE void fill_fragment(fragment<Use, 16, 16, 16, T, Layout>& to, T value) {
  for (T& x : to.x) x = value;
}
template <class LayoutA, class LayoutB>
EMULATOR_INLINE void mma_sync(fragment<accumulator, 16, 16, 16, float>& d,
                              const fragment<matrix_a, 16, 16, 16, __nv_bfloat16, LayoutA>& a,
                              const fragment<matrix_b, 16, 16, 16, __nv_bfloat16, LayoutB>& b,
                              const fragment<accumulator, 16, 16, 16, float>& c, EMULATOR_AT) {
  emulator::multiply_fragments(
      {d.x, reinterpret_cast<const std::uint16_t*>(a.x), reinterpret_cast<const std::uint16_t*>(b.x), c.x}, at);
}

}  // namespace nvcuda::wmma
