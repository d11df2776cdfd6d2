#include "kernels/cpu/products.h"

#include <algorithm>
#include <array>
#include <functional>

#include "kernels/cpu/tasks.h"

namespace artel::cpu {
namespace {

constexpr std::int64_t native_rows = 64;  // rows, or along k in weight gradients, of a native bf16 product
constexpr int workspace_slot = num_tile_slots;
constexpr int shared_slot = workspace_slot + 1;  // of worker 0, for all: packed weights, partial sums

/// `total` cut into equal blocks of at most `most`, multiples of 16 but for the last.
struct Blocks {
  Blocks(std::int64_t all, std::int64_t most) : total(all) {
    const std::int64_t num_wanted = std::max<std::int64_t>(1, num_chunks(all, most));
    size = std::max<std::int64_t>(1, num_chunks(num_chunks(all, num_wanted), 16)) * 16;
    num = num_chunks(all, size);
  }
  std::int64_t length(std::int64_t i) const { return std::min(size, total - i * size); }

  std::int64_t total;
  std::int64_t size;
  std::int64_t num;
};

// Whether any group has rows enough for a native product.
bool has_whole_tile(const Groups& groups) {
  for (std::int64_t g = 0; g < groups.num; ++g) {
    if (groups.rows(g) >= native_rows) return true;
  }
  return false;
}

// ---- rows times weights: linear, linear_backward_data
// -------------------------------------------------------------------------------------------------------------------

Matrix weights(const RowProduct& p, std::int64_t group, std::int64_t column) {
  const bool transposed = p.transpose_w == Transpose::yes;
  return p.w.at(group * (transposed ? p.n : p.k) + (transposed ? column : 0), transposed ? 0 : column);
}

GemmTile tile_of(const RowProduct& p, std::int64_t num_rows, std::int64_t num_columns) {
  return {.transpose_b = p.transpose_w,
          .m = num_rows,
          .n = num_columns,
          .k = p.k,
          .lda = p.x.ld,
          .ldb = p.w.ld,
          .ldc = p.y.ld,
          .accumulate = p.accumulate};
}

// The native products of a RowProduct and its packed weights: one product for the equal column blocks, one for the
// last.
class NativeRows {
 public:
  NativeRows(const Machine& machine, const RowProduct& p, const Blocks& columns)
      : machine_(machine), p_(p), columns_(columns) {
    if (!machine.gemm.has_native_bf16() || p.x.dtype != DType::bf16 || p.w.dtype != DType::bf16) return;
    if (!has_whole_tile(p.groups)) return;
    for (const std::int64_t last : {0, 1}) {
      const std::int64_t width = columns.length(last == 1 ? columns.num - 1 : 0);
      const Bf16Shape shape = {.tile = tile_of(p, native_rows, width), .c_type = p.y.dtype, .pack_b = true};
      products_[static_cast<std::size_t>(last)] = machine.gemm.prepare(shape);
    }
    if (products_[0] == nullptr || products_[1] == nullptr) return;
    stride_ = std::max(Gemm::packed_floats(*products_[0]), Gemm::packed_floats(*products_[1]));
    stride_ = num_chunks(stride_, 16) * 16;
    packed_ = machine.scratch(0, shared_slot, p.groups.num * columns.num * stride_);
    const auto pack = [this](std::int64_t index, int worker) {
      const std::int64_t group = index / columns_.num;
      const std::int64_t block = index % columns_.num;
      if (p_.groups.rows(group) < native_rows) return;
      const Matrix w = weights(p_, group, block * columns_.size);
      machine_.gemm.pack(product(block), static_cast<const bf16*>(w.data), packed_ + index * stride_,
                         workspace(block, worker));
    };
    machine.pool.parallel_for(p.groups.num * columns.num, std::ref(pack));
  }

  /// Whole tiles of native_rows among the rows begin .. end-1; returns the first row that is left.
  std::int64_t multiply(std::int64_t group, std::int64_t block, std::int64_t begin, std::int64_t end,
                        int worker) const {
    if (packed_ == nullptr) return begin;
    for (; begin + native_rows <= end; begin += native_rows) {
      const float* packed = packed_ + (group * columns_.num + block) * stride_;
      machine_.gemm.multiply(product(block), static_cast<const bf16*>(p_.x.at(begin, 0).data), packed,
                             p_.y.at(begin, block * columns_.size).data, workspace(block, worker));
    }
    return begin;
  }

 private:
  const Bf16Product& product(std::int64_t block) const { return *products_[block == columns_.num - 1 ? 1 : 0]; }
  float* workspace(std::int64_t block, int worker) const {
    return machine_.scratch(worker, workspace_slot, Gemm::workspace_floats(product(block)));
  }

  const Machine& machine_;
  const RowProduct& p_;
  const Blocks& columns_;
  std::array<const Bf16Product*, 2> products_{};
  float* packed_ = nullptr;
  std::int64_t stride_ = 0;
};

std::int64_t num_row_tiles(const Groups& groups, std::int64_t tile_rows) {
  std::int64_t num = 0;
  for (std::int64_t g = 0; g < groups.num; ++g) num += num_chunks(groups.rows(g), tile_rows);
  return num;
}

// ---- gradients of weights
// -------------------------------------------------------------------------------------------------------------------

// The rows of a large group are split into `num_splits` equal parts, so that few weights with many rows make many
// tasks. The first part goes to dw itself, the others to partial sums that are added to it in ascending order.
class WeightTasks {
 public:
  WeightTasks(const Machine& machine, const WeightProduct& p)
      : machine_(machine), p_(p), blocks_out_(p.out, 128), blocks_in_(p.in, 256) {
    constexpr std::int64_t wanted_tasks = 32;
    constexpr std::int64_t least_rows = 1024;
    num_blocks_ = blocks_out_.num * blocks_in_.num;
    rows_per_split_ = std::max(least_rows, num_chunks(p.groups.total_rows() * num_blocks_, wanted_tasks));
    for (std::int64_t g = 0; g < p.groups.num; ++g) num_parts_ += num_splits(g);
    const std::int64_t num_partials = num_parts_ - p.groups.num;
    if (num_partials > 0) partials_ = machine.scratch(0, shared_slot, num_partials * p.out * p.in);
    prepare_native();
  }

  void run() const {
    const auto multiply = [this](std::int64_t index, int worker) { multiply_part(index, worker); };
    machine_.pool.parallel_for(num_parts_ * num_blocks_, std::ref(multiply));
    if (partials_ == nullptr) return;
    for_chunks(machine_.pool, p_.groups.num * p_.out, rows_per_task(p_.in),
               [this](std::int64_t begin, std::int64_t end, int) {
                 for (std::int64_t row = begin; row < end; ++row) add_partials(row / p_.out, row % p_.out);
               });
  }

 private:
  std::int64_t num_splits(std::int64_t group) const {
    return std::max<std::int64_t>(1, p_.groups.rows(group) / rows_per_split_);
  }
  float* dw(std::int64_t group) const { return p_.dw + group * p_.out * p_.in; }
  float* partial(std::int64_t index) const { return partials_ + index * p_.out * p_.in; }

  void multiply_part(std::int64_t index, int worker) const {
    std::int64_t split = index / num_blocks_;
    const std::int64_t block = index % num_blocks_;
    std::int64_t group = 0;
    std::int64_t first_partial = 0;
    for (; split >= num_splits(group); ++group) {
      split -= num_splits(group);
      first_partial += num_splits(group) - 1;
    }
    const std::int64_t rows = p_.groups.rows(group);
    const std::int64_t length = num_chunks(num_chunks(rows, num_splits(group)), native_rows) * native_rows;
    const std::int64_t begin = std::min(rows, split * length) + p_.groups.begin(group);
    const std::int64_t end = std::min(rows, (split + 1) * length) + p_.groups.begin(group);
    const std::int64_t out = block / blocks_in_.num;
    const std::int64_t in = block % blocks_in_.num;
    float* const target = split == 0 ? dw(group) : partial(first_partial + split - 1);
    multiply_rows(begin, end, out, in, Matrix(target, p_.in), split == 0 && p_.accumulate, worker);
  }

  // The block (out, in) of target = or += dy^T · x over the rows begin .. end-1.
  void multiply_rows(std::int64_t begin, std::int64_t end, std::int64_t out, std::int64_t in, const Matrix& target,
                     bool accumulate, int worker) const {
    const Matrix dy = p_.dy.at(0, out * blocks_out_.size);
    const Matrix x = p_.x.at(0, in * blocks_in_.size);
    const Matrix c = target.at(out * blocks_out_.size, in * blocks_in_.size);
    GemmTile tile = shape(out, in, end - begin, accumulate);
    if (const Bf16Product* native = native_[native_index(out, in)]; native != nullptr && begin + native_rows <= end) {
      if (!accumulate) {
        for (std::int64_t r = 0; r < tile.m; ++r) std::fill_n(c.f32() + r * c.ld, tile.n, 0.0F);
      }
      float* const workspace = machine_.scratch(worker, workspace_slot, Gemm::workspace_floats(*native));
      for (; begin + native_rows <= end; begin += native_rows) {
        machine_.gemm.multiply(*native, static_cast<const bf16*>(dy.at(begin, 0).data), x.at(begin, 0).data, c.data,
                               workspace);
      }
      if (begin == end) return;
      tile = shape(out, in, end - begin, true);
    }
    multiply_tile(machine_.gemm, machine_.isa, tile, dy.at(begin, 0), x.at(begin, 0), c, machine_.of(worker));
  }

  GemmTile shape(std::int64_t out, std::int64_t in, std::int64_t rows, bool accumulate) const {
    return {.transpose_a = Transpose::yes,
            .m = blocks_out_.length(out),
            .n = blocks_in_.length(in),
            .k = rows,
            .lda = p_.dy.ld,
            .ldb = p_.x.ld,
            .ldc = p_.in,
            .accumulate = accumulate};
  }

  std::size_t native_index(std::int64_t out, std::int64_t in) const {
    return (out == blocks_out_.num - 1 ? 2U : 0U) + (in == blocks_in_.num - 1 ? 1U : 0U);
  }
  void prepare_native() {
    if (!machine_.gemm.has_native_bf16() || p_.x.dtype != DType::bf16 || p_.dy.dtype != DType::bf16) return;
    if (!has_whole_tile(p_.groups)) return;
    for (const std::int64_t out : {std::int64_t{0}, blocks_out_.num - 1}) {
      for (const std::int64_t in : {std::int64_t{0}, blocks_in_.num - 1}) {
        native_[native_index(out, in)] = machine_.gemm.prepare({.tile = shape(out, in, native_rows, true)});
      }
    }
  }

  void add_partials(std::int64_t group, std::int64_t row) const {
    std::int64_t index = 0;
    for (std::int64_t g = 0; g < group; ++g) index += num_splits(g) - 1;
    for (std::int64_t split = 1; split < num_splits(group); ++split, ++index) {
      store_block(machine_.isa, partial(index) + row * p_.in, p_.in, 1, p_.in, Matrix(dw(group) + row * p_.in, p_.in),
                  true);
    }
  }

  const Machine& machine_;
  const WeightProduct& p_;
  Blocks blocks_out_;
  Blocks blocks_in_;
  std::int64_t num_blocks_ = 0;
  std::int64_t num_parts_ = 0;
  std::int64_t rows_per_split_ = 0;
  float* partials_ = nullptr;
  std::array<const Bf16Product*, 4> native_{};
};

}  // namespace

void multiply_rows(const Machine& machine, const RowProduct& p) {
  const Blocks columns(p.n, 256);
  // Tall tiles spare conversions and packing; short ones keep more threads busy when there are few rows.
  std::int64_t tile_rows = 256;
  while (tile_rows > native_rows && num_row_tiles(p.groups, tile_rows) * columns.num < 32) tile_rows /= 2;
  const NativeRows native(machine, p, columns);
  const auto task = [&](std::int64_t index, int worker) {
    std::int64_t tile = index / columns.num;
    const std::int64_t block = index % columns.num;
    std::int64_t group = 0;
    for (; tile >= num_chunks(p.groups.rows(group), tile_rows); ++group) {
      tile -= num_chunks(p.groups.rows(group), tile_rows);
    }
    std::int64_t begin = p.groups.begin(group) + tile * tile_rows;
    const std::int64_t end = std::min(begin + tile_rows, p.groups.begin(group + 1));
    begin = native.multiply(group, block, begin, end, worker);
    if (begin == end) return;
    const std::int64_t column = block * columns.size;
    multiply_tile(machine.gemm, machine.isa, tile_of(p, end - begin, columns.length(block)), p.x.at(begin, 0),
                  weights(p, group, column), p.y.at(begin, column), machine.of(worker));
  };
  machine.pool.parallel_for(num_row_tiles(p.groups, tile_rows) * columns.num, std::ref(task));
}

void multiply_weights(const Machine& machine, const WeightProduct& product) {
  WeightTasks(machine, product).run();
}

}  // namespace artel::cpu
