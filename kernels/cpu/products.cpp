#include "kernels/cpu/products.h"

#include <algorithm>
#include <functional>

#include "kernels/cpu/native_products.h"
#include "kernels/cpu/tasks.h"

namespace artel::cpu {
namespace {

constexpr std::int64_t wanted_tasks = 32;  // of a product, to keep threads busy where its size allows

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
      : machine_(machine),
        p_(p),
        native_(machine, p),
        blocks_out_(p.out, native_.usable() ? NativeWeights::block_out : 128),
        blocks_in_(p.in, native_.usable() ? p.in : 256) {
    constexpr std::int64_t least_rows = 1024;
    num_blocks_ = blocks_out_.num * blocks_in_.num;
    rows_per_split_ = std::max(least_rows, num_chunks(p.groups.total_rows() * num_blocks_, wanted_tasks));
    for (std::int64_t g = 0; g < p.groups.num; ++g) num_parts_ += num_splits(g);
    const std::int64_t num_partials = num_parts_ - p.groups.num;
    if (num_partials > 0) partials_ = machine.scratch(0, Machine::shared_slot, num_partials * p.out * p.in);
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
    const std::int64_t length =
        num_chunks(num_chunks(rows, num_splits(group)), NativeWeights::piece) * NativeWeights::piece;
    const std::int64_t begin = std::min(rows, split * length) + p_.groups.begin(group);
    const std::int64_t end = std::min(rows, (split + 1) * length) + p_.groups.begin(group);
    const std::int64_t out = block / blocks_in_.num * blocks_out_.size;
    float* const target = split == 0 ? dw(group) : partial(first_partial + split - 1);
    const bool accumulate = split == 0 && p_.accumulate;
    if (native_.usable() && begin < end) {
      native_.multiply(out, target, begin, end, accumulate, worker);
    } else {
      multiply_rows(begin, end, out, block % blocks_in_.num * blocks_in_.size, target, accumulate, worker);
    }
  }

  // The block at (out, in) of target = or += dy^T · x over the rows begin .. end-1.
  void multiply_rows(std::int64_t begin, std::int64_t end, std::int64_t out, std::int64_t in, float* target,
                     bool accumulate, int worker) const {
    const GemmTile tile = {.transpose_a = Transpose::yes,
                           .m = std::min(blocks_out_.size, p_.out - out),
                           .n = std::min(blocks_in_.size, p_.in - in),
                           .k = end - begin,
                           .accumulate = accumulate};
    multiply_tile(machine_.gemm, machine_.isa, tile, p_.dy.at(begin, out), p_.x.at(begin, in),
                  Matrix(target, p_.in).at(out, in), machine_.of(worker));
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
  NativeWeights native_;
  Blocks blocks_out_;
  Blocks blocks_in_;
  std::int64_t num_blocks_ = 0;
  std::int64_t num_parts_ = 0;
  std::int64_t rows_per_split_ = 0;
  float* partials_ = nullptr;
};

}  // namespace

Blocks::Blocks(std::int64_t all, std::int64_t most) : total(all) {
  const std::int64_t num_wanted = std::max<std::int64_t>(1, num_chunks(all, most));
  size = std::max<std::int64_t>(1, num_chunks(num_chunks(all, num_wanted), 16)) * 16;
  num = num_chunks(all, size);
}

void multiply_rows(const Machine& machine, const RowProduct& p) {
  // The library is fastest where a product has all columns; with few rows their blocks keep the threads busy.
  constexpr std::int64_t most_columns = 256;  // of a product in f32
  const bool whole_rows = p.x.dtype == DType::bf16 && machine.gemm.has_native_bf16() &&
                          num_row_tiles(p.groups, NativeRows::least_rows) >= wanted_tasks;
  const Blocks columns(p.n, whole_rows ? p.n : most_columns);
  // Tall tiles spare conversions and packing; short ones keep more threads busy when there are few rows.
  std::int64_t tile_rows = 256;
  while (tile_rows > NativeRows::least_rows && num_row_tiles(p.groups, tile_rows) * columns.num < wanted_tasks) {
    tile_rows /= 2;
  }
  const NativeRows native(machine, p, columns);
  const auto task = [&](std::int64_t index, int worker) {
    std::int64_t tile = index / columns.num;
    const std::int64_t block = index % columns.num;
    std::int64_t group = 0;
    for (; tile >= num_chunks(p.groups.rows(group), tile_rows); ++group) {
      tile -= num_chunks(p.groups.rows(group), tile_rows);
    }
    const std::int64_t begin = p.groups.begin(group) + tile * tile_rows;
    const std::int64_t end = std::min(begin + tile_rows, p.groups.begin(group + 1));
    if (native.multiply(group, block, begin, end, worker)) return;
    const std::int64_t stop = block * columns.size + columns.length(block);
    for (std::int64_t column = block * columns.size; column < stop; column += most_columns) {
      multiply_tile(machine.gemm, machine.isa, tile_of(p, end - begin, std::min(most_columns, stop - column)),
                    p.x.at(begin, 0), p.weights(group, column), p.y.at(begin, column), machine.of(worker));
    }
  };
  machine.pool.parallel_for(num_row_tiles(p.groups, tile_rows) * columns.num, std::ref(task));
}

void multiply_weights(const Machine& machine, const WeightProduct& product) {
  WeightTasks(machine, product).run();
}

}  // namespace artel::cpu
