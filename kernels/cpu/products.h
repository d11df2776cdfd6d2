#pragma once

#include <cstdint>
#include <functional>

#include "core/thread_pool.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/tile_product.h"

namespace artel::cpu {

/// What products run on: the pool, the library, and the scratch of the backend.
struct Machine {
  ThreadPool& pool;
  const Gemm& gemm;
  Isa isa;
  std::function<float*(int worker, int slot, std::int64_t num_floats)> scratch;

  static constexpr int workspace_slot = num_tile_slots;   ///< the library's
  static constexpr int shared_slot = workspace_slot + 1;  ///< of worker 0, for all: packed weights, partial sums

  WorkerScratch of(int worker) const {
    return [this, worker](int slot, std::int64_t num_floats) { return scratch(worker, slot, num_floats); };
  }
  GemmWorker worker(const Bf16Product& product, int index) const {
    return {index, scratch(index, workspace_slot, Gemm::workspace_floats(product))};
  }
};

/// Rows of the groups: group g has rows begin(g) .. begin(g + 1)-1. Products that are not grouped have one group.
struct Groups {
  const std::int32_t* offsets;
  std::int64_t num;

  std::int64_t begin(std::int64_t g) const { return offsets[g]; }
  std::int64_t rows(std::int64_t g) const { return offsets[g + 1] - offsets[g]; }
  std::int64_t total_rows() const { return offsets[num] - offsets[0]; }
};

/// `total` cut into equal blocks of at most `most`, multiples of 16 but for the last.
struct Blocks {
  Blocks(std::int64_t all, std::int64_t most);
  std::int64_t length(std::int64_t i) const { return i == num - 1 ? total - i * size : size; }

  std::int64_t total;
  std::int64_t size;
  std::int64_t num;
};

/// y [rows, n] = or += x [rows, k] · w[group] for the rows of every group.
struct RowProduct {
  Matrix x;
  Matrix w;  ///< [groups · n, k] under transpose_w, else [groups · k, n]
  Matrix y;
  Transpose transpose_w;
  std::int64_t k;
  std::int64_t n;
  Groups groups;
  bool accumulate;

  /// The weights of a group that make the columns of y from `column` on.
  Matrix weights(std::int64_t group, std::int64_t column) const {
    const bool transposed = transpose_w == Transpose::yes;
    return w.at(group * (transposed ? n : k) + (transposed ? column : 0), transposed ? 0 : column);
  }
};

/// dw[group] [out, in] f32 = or += dy [rows, out]^T · x [rows, in] over the rows of every group.
struct WeightProduct {
  Matrix x;
  Matrix dy;
  float* dw;  ///< [groups, out, in]
  std::int64_t in;
  std::int64_t out;
  Groups groups;
  bool accumulate;
};

/// Tasks are cut by the shapes and the sizes of the groups alone: the bits do not depend on the number of threads.
void multiply_rows(const Machine& machine, const RowProduct& product);
void multiply_weights(const Machine& machine, const WeightProduct& product);

}  // namespace artel::cpu
