#include "kernels/cpu/rows/packing.h"

#include <vector>

#include "support/catch.h"

namespace artel {
namespace {

using cpu::PackingRows;

// Element (row, column) is told apart from all others by its bits.
bf16 element(std::int64_t row, std::int64_t column) {
  return bf16{static_cast<std::uint16_t>(1 + row * 257 + column)};
}

void check(cpu::Isa isa, bool transposed, std::int64_t k, std::int64_t n, std::int64_t block) {
  INFO(cpu::isa_name(isa) << (transposed ? ", transposed" : "") << ", k " << k << ", n " << n << ", blocks of "
                          << block);
  const std::int64_t ld = (transposed ? k : n) + 3;
  std::vector<bf16> b(static_cast<std::size_t>((transposed ? n : k) * ld), bf16{0xffff});
  for (std::int64_t row = 0; row < k; ++row) {
    for (std::int64_t column = 0; column < n; ++column) {
      b[static_cast<std::size_t>(transposed ? column * ld + row : row * ld + column)] = element(row, column);
    }
  }
  const std::int64_t num_blocks = (n + block - 1) / block;
  const std::int64_t rows = (k + PackingRows::block_k - 1) / PackingRows::block_k * PackingRows::block_k;
  std::vector<bf16> packed(static_cast<std::size_t>(num_blocks * block * rows), bf16{0xfffe});
  for (std::int64_t i = num_blocks; i-- > 0;) {  // part by part, in any order
    cpu::packing_rows(isa).pack(b.data(), ld, transposed, k, n, block, i, i + 1, packed.data());
  }
  std::int64_t num_wrong = 0;
  for (std::int64_t column = 0; column < num_blocks * block; ++column) {
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t place = (column / block * rows + row / 2 * 2) * block + column % block * 2 + row % 2;
      const std::uint16_t required = row < k && column < n ? element(row, column).bits : 0;
      num_wrong += packed[static_cast<std::size_t>(place)].bits != required ? 1 : 0;
    }
  }
  CHECK(num_wrong == 0);
}

}  // namespace

TEST_CASE("Packed weights hold every element once, in pairs along k, with zeros behind the edges") {
  for (const cpu::Isa isa : {cpu::Isa::generic, cpu::Isa::avx2, cpu::Isa::avx512}) {
    if (isa > cpu::detect_isa()) continue;
    for (const bool transposed : {false, true}) {
      for (const std::int64_t block : {16, 64}) {
        check(isa, transposed, 64, 128, block);
        check(isa, transposed, 1, 1, block);
        check(isa, transposed, 33, 65, block);
        check(isa, transposed, 47, 34, block);
        check(isa, transposed, 96, 15, block);
      }
    }
  }
}

}  // namespace artel
