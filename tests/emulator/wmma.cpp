#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "emulator/execution.h"

namespace emulator {

namespace {

constexpr int num_uses = 3;
constexpr int matrix_size = 16;
constexpr int num_elements = matrix_size * matrix_size;
constexpr int elements_per_lane = num_elements / warp_size;

struct Layout {
  std::uint64_t seed = 0;
  bool defined = false;
  // Of each use: the element that each lane's each element is.
  std::array<std::array<std::uint8_t, num_elements>, num_uses> elements{};
};
Layout layout;

float from_bf16(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

using Matrix = std::array<float, num_elements>;

void multiply(void* const* arguments) {
  Matrix a;
  Matrix b;
  Matrix c;
  for (int lane = 0; lane < warp_size; ++lane) {
    const auto& fragments = *static_cast<const FragmentProduct*>(arguments[lane]);
    for (int i = 0; i < elements_per_lane; ++i) {
      const auto slot = static_cast<std::size_t>(lane * elements_per_lane + i);
      a[layout.elements[0][slot]] = from_bf16(fragments.a[i]);
      b[layout.elements[1][slot]] = from_bf16(fragments.b[i]);
      c[layout.elements[2][slot]] = fragments.c[i];
    }
  }
  for (std::size_t row = 0; row < matrix_size; ++row) {
    float* sums = &c[row * matrix_size];
    for (std::size_t k = 0; k < matrix_size; ++k) {
      const float factor = a[row * matrix_size + k];
      const float* of_b = &b[k * matrix_size];
      for (std::size_t column = 0; column < matrix_size; ++column) sums[column] += factor * of_b[column];
    }
  }
  for (int lane = 0; lane < warp_size; ++lane) {
    const auto& fragments = *static_cast<const FragmentProduct*>(arguments[lane]);
    for (int i = 0; i < elements_per_lane; ++i) {
      fragments.d[i] = c[layout.elements[2][static_cast<std::size_t>(lane * elements_per_lane + i)]];
    }
  }
}

struct MatrixInMemory {
  const void* pointer;
  std::size_t leading_bytes;
  const void* pc;
};

void check_matrix(void* const* arguments) {
  const auto& first = *static_cast<const MatrixInMemory*>(arguments[0]);
  for (int lane = 1; lane < warp_size; ++lane) {
    const auto& other = *static_cast<const MatrixInMemory*>(arguments[lane]);
    if (other.pointer == first.pointer && other.leading_bytes == first.leading_bytes) continue;
    report_at(first.pc, 10, "synccheck", "the lanes of a warp load or store different matrices");
    break;
  }
  constexpr std::uintptr_t pointer_alignment = 32;
  constexpr std::size_t row_alignment = 16;
  if (reinterpret_cast<std::uintptr_t>(first.pointer) % pointer_alignment != 0) {
    report_at(first.pc, 11, "memcheck", "the address of a wmma matrix is no multiple of 32 bytes");
  }
  if (first.leading_bytes % row_alignment != 0) {
    report_at(first.pc, 12, "memcheck", "the leading dimension of a wmma matrix is no multiple of 16 bytes");
  }
}

}  // namespace

void begin_fragments() {
  if (layout.defined && layout.seed == config().seed) return;
  layout.seed = config().seed;
  layout.defined = true;
  for (auto& elements : layout.elements) {
    std::iota(elements.begin(), elements.end(), std::uint8_t{0});
    for (std::size_t i = elements.size(); i > 1; --i) std::swap(elements[i - 1], elements[random_bits() % i]);
  }
}

int fragment_element(int use, int lane, int index) {
  return layout.elements[static_cast<std::size_t>(use)][static_cast<std::size_t>(lane * elements_per_lane + index)];
}

void warp_matrix(const void* matrix, std::size_t leading_bytes, Line at) {
  const void* pc = __builtin_return_address(0);
  MatrixInMemory mine{matrix, leading_bytes, pc};
  call_for_warp(&check_matrix, &mine, at, pc);
}

void multiply_fragments(FragmentProduct product, Line at) {
  call_for_warp(&multiply, &product, at, __builtin_return_address(0));
}

}  // namespace emulator
