#include "kernels/cpu/native_products.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "kernels/cpu/tasks.h"

namespace artel::cpu {
namespace {

// Slots of a worker's scratch; those of multiply_tile are free while a native product runs.
constexpr int a_slot = 0;
constexpr int b_slot = 1;
constexpr int c_slot = 2;

bf16* bf16_scratch(const Machine& machine, int worker, int slot, std::int64_t num_elements) {
  return reinterpret_cast<bf16*>(machine.scratch(worker, slot, num_chunks(num_elements, 2)));
}

const bf16* bf16_at(const Matrix& matrix, std::int64_t row, std::int64_t column) {
  return static_cast<const bf16*>(matrix.at(row, column).data);
}

}  // namespace

NativeRows::NativeRows(const Machine& machine, const RowProduct& p, const Blocks& columns)
    : machine_(machine), p_(p), columns_(columns) {
  if (!machine.gemm.has_native_bf16() || p.x.dtype != DType::bf16 || p.w.dtype != DType::bf16) return;
  std::int64_t most_rows = 0;
  for (std::int64_t g = 0; g < p.groups.num; ++g) most_rows = std::max(most_rows, p.groups.rows(g));
  if (most_rows < least_rows) return;
  for (std::size_t last = columns.num == 1 ? 1 : 0; last < 2; ++last) {
    Bf16Shape shape = {.tile = {.transpose_b = p.transpose_w,
                                .n = columns.length(last == 1 ? columns.num - 1 : 0),
                                .k = p.k,
                                .lda = p.x.ld,
                                .ldb = p.w.ld,
                                .ldc = p.y.ld,
                                .accumulate = p.accumulate},
                       .c_type = p.y.dtype,
                       .pack_b = true};
    shape.tile.m = heights.at(base);
    const Bf16Product* const first = machine.gemm.prepare(shape);
    if (first == nullptr) return;
    for (std::size_t i = 0; i < heights.size(); ++i) {
      shape.tile.m = heights.at(i);
      const Bf16Product* const product = machine.gemm.prepare(shape);
      if (product != nullptr && Gemm::same_packed_form(*product, *first)) products_.at(last).at(i) = product;
    }
    stride_ = std::max(stride_, num_chunks(Gemm::packed_floats(*first), 16) * 16);
    num_parts_ = std::max(num_parts_, Gemm::num_packing_parts(*first));
  }
  packed_ = machine.scratch(0, Machine::shared_slot, p.groups.num * columns.num * stride_);
  const auto task = [this](std::int64_t index, int worker) { pack(index / num_parts_, index % num_parts_, worker); };
  machine.pool.parallel_for(p.groups.num * columns.num * num_parts_, std::ref(task));
}

void NativeRows::pack(std::int64_t index, std::int64_t part, int worker) const {
  const std::int64_t group = index / columns_.num;
  const std::int64_t block = index % columns_.num;
  const Bf16Product& product = *products(block)[base];
  if (p_.groups.rows(group) < least_rows || part >= Gemm::num_packing_parts(product)) return;
  const Matrix w = p_.weights(group, block * columns_.size);
  machine_.gemm.pack(product, machine_.isa, static_cast<const bf16*>(w.data), packed_ + index * stride_, part,
                     machine_.worker(product, worker));
}

bool NativeRows::multiply(std::int64_t group, std::int64_t block, std::int64_t begin, std::int64_t end,
                          int worker) const {
  if (packed_ == nullptr || p_.groups.rows(group) < least_rows) return false;
  const float* const packed = packed_ + (group * columns_.num + block) * stride_;
  std::size_t smallest = 0;
  for (std::size_t i = 0; i < heights.size(); ++i) {
    const Bf16Product* const product = products(block).at(i);
    if (product == nullptr) continue;
    smallest = i;
    for (; begin + heights.at(i) <= end; begin += heights.at(i)) {
      machine_.gemm.multiply(*product, bf16_at(p_.x, begin, 0), packed, p_.y.at(begin, block * columns_.size).data,
                             machine_.worker(*product, worker));
    }
  }
  if (begin < end) {
    multiply_few(*products(block).at(smallest), packed, begin, end - begin, heights.at(smallest), block, worker);
  }
  return true;
}

// Zeros below the rows of x; what comes of them stays in scratch.
void NativeRows::multiply_few(const Bf16Product& product, const float* packed, std::int64_t begin,
                              std::int64_t num_rows, std::int64_t height, std::int64_t block, int worker) const {
  const std::int64_t width = columns_.length(block);
  const Matrix result = p_.y.at(begin, block * columns_.size);
  const Matrix x(bf16_scratch(machine_, worker, a_slot, height * p_.x.ld), DType::bf16, p_.x.ld);
  const Matrix y(machine_.scratch(worker, c_slot, height * p_.y.ld), p_.y.dtype, p_.y.ld);
  copy_block(p_.x.at(begin, 0), num_rows, p_.k, x);
  std::memset(x.at(num_rows, 0).data, 0, static_cast<std::size_t>((height - num_rows) * x.ld) * sizeof(bf16));
  if (p_.accumulate) {
    std::memset(y.data, 0, static_cast<std::size_t>(height * y.ld) * dtype_size(y.dtype));
    copy_block(result, num_rows, width, y);
  }
  machine_.gemm.multiply(product, bf16_at(x, 0, 0), packed, y.data, machine_.worker(product, worker));
  copy_block(y, num_rows, width, result);
}

NativeWeights::NativeWeights(const Machine& machine, const WeightProduct& p)
    : machine_(machine), p_(p), blocks_(p.out, block_out) {
  if (!machine.gemm.has_native_bf16() || p.x.dtype != DType::bf16 || p.dy.dtype != DType::bf16) return;
  if (p.groups.total_rows() == 0 || p.in == 0 || p.out == 0) return;
  usable_ = true;
  for (std::int64_t block = blocks_.num == 1 ? 0 : blocks_.num - 2; block < blocks_.num; ++block) {
    for (const bool accumulate : {false, true}) {
      for (const bool copied : {false, true}) {
        // All at the first call with such matrices, so that none is made later, when groups have other numbers of rows.
        const std::int64_t before = machine.gemm.num_prepared();
        usable_ = prepare(block, most_pieces, accumulate, copied) != nullptr && usable_;
        if (machine.gemm.num_prepared() == before) continue;
        for (std::int64_t pieces = 1; pieces < most_pieces; ++pieces) prepare(block, pieces, accumulate, copied);
      }
    }
  }
}

const Bf16Product* NativeWeights::prepare(std::int64_t block, std::int64_t pieces, bool accumulate, bool copied) const {
  const std::int64_t m = blocks_.length(block);
  return machine_.gemm.prepare({.tile = {.transpose_a = Transpose::yes,
                                         .m = m,
                                         .n = p_.in,
                                         .k = pieces * piece,
                                         .lda = copied ? m : p_.dy.ld,
                                         .ldb = copied ? p_.in : p_.x.ld,
                                         .ldc = p_.in,
                                         .accumulate = accumulate}});
}

const bf16* NativeWeights::completed(const Matrix& matrix, std::int64_t column, std::int64_t num_columns,
                                     std::int64_t begin, std::int64_t end, std::int64_t num_rows, int slot,
                                     int worker) const {
  const Matrix copied(bf16_scratch(machine_, worker, slot, num_rows * num_columns), DType::bf16, num_columns);
  copy_block(matrix.at(begin, column), end - begin, num_columns, copied);
  std::memset(copied.at(end - begin, 0).data, 0,
              static_cast<std::size_t>((num_rows - (end - begin)) * num_columns) * sizeof(bf16));
  return bf16_at(copied, 0, 0);
}

void NativeWeights::multiply(std::int64_t out, float* target, std::int64_t begin, std::int64_t end, bool accumulate,
                             int worker) const {
  const std::int64_t block = out / blocks_.size;
  const std::int64_t m = blocks_.length(block);
  std::int64_t pieces_left = num_chunks(end - begin, piece);
  while (begin < end) {
    // Equal parts: a short one would read and write dw for few rows.
    const std::int64_t pieces = num_chunks(pieces_left, num_chunks(pieces_left, most_pieces));
    pieces_left -= pieces;
    const std::int64_t stop = std::min(end, begin + pieces * piece);
    const bool ragged = stop - begin < pieces * piece;
    const Bf16Product* const product = prepare(block, pieces, accumulate, ragged);
    if (product == nullptr) {
      const GemmTile tile = {
          .transpose_a = Transpose::yes, .m = m, .n = p_.in, .k = stop - begin, .accumulate = accumulate};
      multiply_tile(machine_.gemm, machine_.isa, tile, p_.dy.at(begin, out), p_.x.at(begin, 0),
                    Matrix(target, p_.in).at(out, 0), machine_.of(worker));
    } else {
      const bf16* const dy =
          ragged ? completed(p_.dy, out, m, begin, stop, pieces * piece, a_slot, worker) : bf16_at(p_.dy, begin, out);
      const bf16* const x =
          ragged ? completed(p_.x, 0, p_.in, begin, stop, pieces * piece, b_slot, worker) : bf16_at(p_.x, begin, 0);
      machine_.gemm.multiply(*product, dy, x, target + out * p_.in, machine_.worker(*product, worker));
    }
    begin = stop;
    accumulate = true;
  }
}

}  // namespace artel::cpu
