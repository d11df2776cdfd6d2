#pragma once

#include <cstdint>
#include <functional>

#include "core/dtype.h"
#include "core/tensor.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"

namespace artel::cpu {

/// A matrix in memory, f32 or bf16, with rows `ld` elements apart. Whether it may be written is for the user to know.
struct Matrix {
  Matrix() = default;
  Matrix(void* memory, DType type, std::int64_t row_stride) : data(memory), dtype(type), ld(row_stride) {}
  /// The rows of a tensor; of rank 3 or more with the inner dimensions laid end to end.
  explicit Matrix(const Tensor& t) : data(t.raw()), dtype(t.dtype()), ld(t.row_stride()) {}
  /// Scratch.
  Matrix(float* memory, std::int64_t row_stride) : data(memory), dtype(DType::f32), ld(row_stride) {}

  Matrix at(std::int64_t row, std::int64_t column) const {
    const std::int64_t offset = (row * ld + column) * static_cast<std::int64_t>(dtype_size(dtype));
    return {static_cast<char*>(data) + offset, dtype, ld};
  }
  float* f32() const { return static_cast<float*>(data); }

  void* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t ld = 0;
};

/// to [rows, columns] = from.
void load_block(Isa isa, const Matrix& from, std::int64_t rows, std::int64_t columns, float* to, std::int64_t ld_to);
/// to [rows, columns] = or += from; rounded once.
void store_block(Isa isa, const float* from, std::int64_t ld_from, std::int64_t rows, std::int64_t columns,
                 const Matrix& to, bool accumulate);

/// to [rows, columns] = from, of the same type.
void copy_block(const Matrix& from, std::int64_t rows, std::int64_t columns, const Matrix& to);

/// Elements between rows of a copy in scratch: an odd multiple of a cache line, so that a column spreads over the
/// cache.
constexpr std::int64_t padded_ld(std::int64_t columns) {
  return (columns + 31) / 32 * 32 + 16;
}

/// scratch(slot, num_floats) of the worker that asks.
using WorkerScratch = std::function<float*(int, std::int64_t)>;
/// Slots of WorkerScratch that multiply_tile uses: the two operands and the result in f32.
inline constexpr int num_tile_slots = 3;

/// C [m, n] = or += op(A) · op(B), as GemmTile says (its lda, ldb, ldc are not read), for operands of either type, in
/// f32: bf16 is converted piece by piece along k, a bf16 result is rounded once. Uses the first slots of `scratch`.
void multiply_tile(const Gemm& gemm, Isa isa, const GemmTile& tile, const Matrix& a, const Matrix& b, const Matrix& c,
                   const WorkerScratch& scratch);

}  // namespace artel::cpu
