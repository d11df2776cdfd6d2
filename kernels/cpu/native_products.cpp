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

// to [num_rows, ..] = from, with `columns` of them; rows ld elements of element_size bytes apart on both sides.
void copy_rows(const void* from, void* to, std::int64_t num_rows, std::int64_t columns, std::int64_t ld,
               std::size_t element_size) {
  const std::size_t stride = static_cast<std::size_t>(ld) * element_size;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const std::size_t offset = static_cast<std::size_t>(row) * stride;
    std::memcpy(static_cast<char*>(to) + offset, static_cast<const char*>(from) + offset,
                static_cast<std::size_t>(columns) * element_size);
  }
}

const bf16* bf16_at(const Matrix& matrix, std::int64_t row, std::int64_t column) {
  return static_cast<const bf16*>(matrix.at(row, column).data);
}

}  // namespace

Blocks::Blocks(std::int64_t all, std::int64_t most) : total(all) {
  const std::int64_t num_wanted = std::max<std::int64_t>(1, num_chunks(all, most));
  size = std::max<std::int64_t>(1, num_chunks(num_chunks(all, num_wanted), 16)) * 16;
  num = num_chunks(all, size);
}

NativeRows::NativeRows(const Machine& machine, const RowProduct& p, const Blocks& columns)
    : machine_(machine), p_(p), columns_(columns) {
  if (!machine.gemm.has_native_bf16() || p.x.dtype != DType::bf16 || p.w.dtype != DType::bf16) return;
  std::int64_t most_rows = 0;
  for (std::int64_t g = 0; g < p.groups.num; ++g) most_rows = std::max(most_rows, p.groups.rows(g));
  if (most_rows < least_rows) return;
  for (const std::size_t last : {0U, 1U}) {
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
  const std::size_t y_size = dtype_size(p_.y.dtype);
  bf16* const x = bf16_scratch(machine_, worker, a_slot, height * p_.x.ld);
  copy_rows(bf16_at(p_.x, begin, 0), x, num_rows, p_.k, p_.x.ld, sizeof(bf16));
  std::fill_n(x + num_rows * p_.x.ld, (height - num_rows) * p_.x.ld, bf16{});
  void* const y = machine_.scratch(worker, c_slot, height * p_.y.ld);
  void* const result = p_.y.at(begin, block * columns_.size).data;
  if (p_.accumulate) {
    std::memset(y, 0, static_cast<std::size_t>(height * p_.y.ld) * y_size);
    copy_rows(result, y, num_rows, width, p_.y.ld, y_size);
  }
  machine_.gemm.multiply(product, x, packed, y, machine_.worker(product, worker));
  copy_rows(y, result, num_rows, width, p_.y.ld, y_size);
}

NativeWeights::NativeWeights(const Machine& machine, const WeightProduct& p)
    : machine_(machine), p_(p), blocks_(p.out, block_out) {
  if (!machine.gemm.has_native_bf16() || p.x.dtype != DType::bf16 || p.dy.dtype != DType::bf16) return;
  if (p.groups.total_rows() == 0 || p.in == 0 || p.out == 0) return;
  for (const bool accumulate : {false, true}) {
    products_[1][accumulate ? 1 : 0] = prepare(blocks_.num - 1, accumulate);
    products_[0][accumulate ? 1 : 0] = blocks_.num == 1 ? products_[1][accumulate ? 1 : 0] : prepare(0, accumulate);
  }
  usable_ = true;
  for (const auto& of_blocks : products_) {
    for (const Products& products : of_blocks) {
      usable_ = usable_ && std::find(products.begin(), products.end(), nullptr) == products.end();
    }
  }
}

NativeWeights::Products NativeWeights::prepare(std::int64_t block, bool accumulate) const {
  Products products{};
  for (std::int64_t i = 0; i < most_pieces; ++i) {
    const GemmTile tile = {.transpose_a = Transpose::yes,
                           .m = blocks_.length(block),
                           .n = p_.in,
                           .k = (i + 1) * piece,
                           .lda = p_.dy.ld,
                           .ldb = p_.x.ld,
                           .ldc = p_.in,
                           .accumulate = accumulate};
    products.at(static_cast<std::size_t>(i)) = machine_.gemm.prepare({.tile = tile});
  }
  return products;
}

const bf16* NativeWeights::completed(const Matrix& matrix, std::int64_t num_columns, std::int64_t begin,
                                     std::int64_t end, std::int64_t num_rows, int slot, int worker) const {
  bf16* const copied = bf16_scratch(machine_, worker, slot, num_rows * matrix.ld);
  copy_rows(bf16_at(matrix, begin, 0), copied, end - begin, num_columns, matrix.ld, sizeof(bf16));
  std::fill_n(copied + (end - begin) * matrix.ld, (num_rows - (end - begin)) * matrix.ld, bf16{});
  return copied;
}

void NativeWeights::multiply(std::int64_t out, float* target, std::int64_t begin, std::int64_t end, bool accumulate,
                             int worker) const {
  const std::int64_t block = out / blocks_.size;
  const auto& products = products_[block == blocks_.num - 1 ? 1 : 0];
  std::int64_t pieces_left = num_chunks(end - begin, piece);
  while (begin < end) {
    // Equal parts: a short one would read and write dw for few rows.
    const std::int64_t pieces = num_chunks(pieces_left, num_chunks(pieces_left, most_pieces));
    pieces_left -= pieces;
    const std::int64_t stop = std::min(end, begin + pieces * piece);
    const bf16* dy = bf16_at(p_.dy, begin, 0);
    const bf16* x = bf16_at(p_.x, begin, 0);
    if (stop - begin < pieces * piece) {
      dy = completed(p_.dy, p_.out, begin, stop, pieces * piece, a_slot, worker);
      x = completed(p_.x, p_.in, begin, stop, pieces * piece, b_slot, worker);
    }
    const Bf16Product& product = *products[accumulate ? 1 : 0].at(static_cast<std::size_t>(pieces - 1));
    machine_.gemm.multiply(product, dy + out, x, target + out * p_.in, machine_.worker(product, worker));
    begin = stop;
    accumulate = true;
  }
}

}  // namespace artel::cpu
