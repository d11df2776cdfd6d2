#include "kernels/cpu/tile_product.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/rows/elementwise.h"

namespace artel::cpu {
namespace {

// Length along k of what is converted at once: with tiles of 256 rows or columns, a quarter of a megabyte an operand.
constexpr std::int64_t piece = 256;

// Whether the library needs its own copy to be fast: it walks down the columns of an operand whose rows lie along k,
// and rows that are a multiple of 512 bytes apart fall into the same few sets of the first cache (30 GFLOP/s were
// measured instead of 85, for rows 4 KiB apart).
bool needs_copy(const Matrix& operand, bool k_is_row) {
  return operand.dtype != DType::f32 || (k_is_row && operand.ld % 128 == 0);
}

// to [columns, rows] = the transpose of from [rows, columns].
void load_transposed(Isa isa, const Matrix& from, std::int64_t rows, std::int64_t columns, float* to,
                     std::int64_t ld_to) {
  if (from.dtype == DType::f32) {
    element_rows_f32_f32(isa).transpose(from.f32(), from.ld, rows, columns, to, ld_to);
  } else {
    element_rows_bf16_f32(isa).transpose(static_cast<const bf16*>(from.data), from.ld, rows, columns, to, ld_to);
  }
}

// The part of B that covers `k` .. k + length, ready for a product in f32.
Matrix piece_of_b(Isa isa, const Matrix& whole, bool k_is_row, std::int64_t k, std::int64_t length,
                  std::int64_t num_columns, const WorkerScratch& scratch) {
  const Matrix part = k_is_row ? whole.at(k, 0) : whole.at(0, k);
  if (!needs_copy(whole, k_is_row)) return part;
  const std::int64_t rows = k_is_row ? length : num_columns;
  const std::int64_t columns = k_is_row ? num_columns : length;
  const std::int64_t ld = padded_ld(columns);
  const Matrix copied(scratch(1, rows * ld), ld);
  load_block(isa, part, rows, columns, copied.f32(), ld);
  return copied;
}

// The part of op(A) that covers `k` .. k + length, ready for a product in f32 that does not transpose it: the library
// is a fifth slower where it does, and a copy takes a fraction of that.
Matrix piece_of_a(Isa isa, const Matrix& whole, bool transpose, std::int64_t k, std::int64_t length,
                  std::int64_t num_rows, const WorkerScratch& scratch) {
  if (!transpose && !needs_copy(whole, false)) return whole.at(0, k);
  const std::int64_t ld = padded_ld(length);
  const Matrix copied(scratch(0, num_rows * ld), ld);
  if (transpose) {
    load_transposed(isa, whole.at(k, 0), length, num_rows, copied.f32(), ld);
  } else {
    load_block(isa, whole.at(0, k), num_rows, length, copied.f32(), ld);
  }
  return copied;
}

}  // namespace

void load_block(Isa isa, const Matrix& from, std::int64_t rows, std::int64_t columns, float* to, std::int64_t ld_to) {
  if (from.dtype == DType::f32) {
    const auto copy = element_rows_f32_f32(isa).copy;
    for (std::int64_t r = 0; r < rows; ++r) copy(from.f32() + r * from.ld, to + r * ld_to, columns);
  } else {
    const auto copy = element_rows_bf16_f32(isa).copy;
    const auto* x = static_cast<const bf16*>(from.data);
    for (std::int64_t r = 0; r < rows; ++r) copy(x + r * from.ld, to + r * ld_to, columns);
  }
}

void store_block(Isa isa, const float* from, std::int64_t ld_from, std::int64_t rows, std::int64_t columns,
                 const Matrix& to, bool accumulate) {
  if (to.dtype == DType::f32) {
    const auto& table = element_rows_f32_f32(isa);
    const auto store = accumulate ? table.add : table.copy;
    for (std::int64_t r = 0; r < rows; ++r) store(from + r * ld_from, to.f32() + r * to.ld, columns);
  } else {
    const auto& table = element_rows_f32_bf16(isa);
    const auto store = accumulate ? table.add : table.copy;
    auto* y = static_cast<bf16*>(to.data);
    for (std::int64_t r = 0; r < rows; ++r) store(from + r * ld_from, y + r * to.ld, columns);
  }
}

void copy_block(const Matrix& from, std::int64_t rows, std::int64_t columns, const Matrix& to) {
  const std::size_t size = static_cast<std::size_t>(columns) * dtype_size(from.dtype);
  for (std::int64_t r = 0; r < rows; ++r) std::memcpy(to.at(r, 0).data, from.at(r, 0).data, size);
}

void multiply_tile(const Gemm& gemm, Isa isa, const GemmTile& tile, const Matrix& a, const Matrix& b, const Matrix& c,
                   const WorkerScratch& scratch) {
  const bool transpose_a = tile.transpose_a == Transpose::yes;
  const bool b_k_is_row = tile.transpose_b == Transpose::no;
  const bool in_place = c.dtype == DType::f32;
  const bool in_pieces = transpose_a || needs_copy(a, false) || needs_copy(b, b_k_is_row);
  const Matrix sum = in_place ? c : Matrix(scratch(2, tile.m * tile.n), tile.n);
  GemmTile part = tile;
  part.transpose_a = Transpose::no;
  part.ldc = sum.ld;
  part.accumulate = in_place && tile.accumulate;
  std::int64_t k = 0;
  do {  // once at least: without k the product is 0
    part.k = in_pieces ? std::min(piece, tile.k - k) : tile.k;
    const Matrix a_part = piece_of_a(isa, a, transpose_a, k, part.k, tile.m, scratch);
    const Matrix b_part = piece_of_b(isa, b, b_k_is_row, k, part.k, tile.n, scratch);
    part.lda = a_part.ld;
    part.ldb = b_part.ld;
    gemm.multiply(part, a_part.f32(), b_part.f32(), sum.f32());
    part.accumulate = true;
    k += part.k;
  } while (k < tile.k);
  if (!in_place) store_block(isa, sum.f32(), sum.ld, tile.m, tile.n, c, tile.accumulate);
}

}  // namespace artel::cpu
