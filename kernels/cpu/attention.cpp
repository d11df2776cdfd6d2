// Causal attention in blocks of queries and keys. The products are those of the library on small tiles, in f32: every
// block is copied (from bf16: converted) to scratch first. Memory per worker grows with the sequence length, never with
// its square.

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "kernels/checks/attention.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/products.h"
#include "kernels/cpu/rows/attention.h"
#include "kernels/cpu/tasks.h"
#include "kernels/cpu/tile_product.h"
#include "util/error.h"

namespace artel {
namespace {

using cpu::Machine;
using cpu::Matrix;
using cpu::Transpose;

constexpr std::int64_t max_head_dim = 256;
constexpr std::int64_t query_block = 64;  // rows of one product
constexpr std::int64_t key_block = 256;   // columns of one product
constexpr std::int64_t score_ld = key_block + 16;
constexpr std::int64_t tile = 256;  // queries (or keys, in the first pass of a divided backward) of one task

// Slots of scratch.
constexpr int keys_slot = 0;       // keys and values of a range
constexpr int key_grads_slot = 1;  // their gradients
constexpr int scores_slot = 2;     // scores, and their gradients
constexpr int queries_slot = 3;    // blocks of queries: q, dy, y or dq
constexpr int stats_slot = 4;      // numbers per query

struct Range {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t length() const { return end - begin; }
};

/// One worker on one sequence: copies of blocks in scratch and the products between them.
class HeadWorker {
 public:
  HeadWorker(const Machine& machine, const AttentionShape& shape, std::int64_t sequence, int worker)
      : machine_(machine),
        rows_(cpu::attention_rows(machine.isa)),
        shape_(shape),
        first_token_(sequence * shape.sequence_length),
        ld_(cpu::padded_ld(shape.head_dim)),
        scale_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)))),
        starts_(shape.document_starts.defined() ? shape.document_starts.data<std::int32_t>() + first_token_ : nullptr),
        worker_(worker) {
    scores_ = scratch(scores_slot, 2 * query_block * score_ld);
    dscores_ = scores_ + query_block * score_ld;
    q_ = scratch(queries_slot, 3 * query_block * ld_);
    dy_ = q_ + query_block * ld_;
    out_ = dy_ + query_block * ld_;
    stats_ = scratch(stats_slot, 2 * query_block);
  }

  /// y and lse of the queries of a head; `head_lse` [Q].
  void forward(In qkv, std::int64_t head, Range queries, Out y, float* head_lse) {
    load_keys(qkv, kv_head_of(head), {first_seen(queries), queries.end});
    float* const max = stats_;
    float* const sum = stats_ + query_block;
    for_query_blocks(queries, [&](Range block) {
      load(qkv, head, block, q_);
      std::fill_n(out_, block.length() * ld_, 0.0F);
      std::fill_n(max, block.length(), -std::numeric_limits<float>::infinity());
      std::fill_n(sum, block.length(), 0.0F);
      for_key_blocks({first_seen(block), block.end}, [&](Range keys) {
        const cpu::ScoreBlock scores = multiply_by_keys(q_, block, k_, keys, scores_);
        rows_.softmax(scores, max, sum, out_, ld_, shape_.head_dim);
        multiply_scores(scores_, block, keys, v_, out_);
      });
      rows_.finish(block.length(), max, sum, out_, ld_, shape_.head_dim, head_lse + block.begin);
      store(out_, block, y, head);
    });
  }

  /// What the queries of a range of heads, all of one key/value head, and a range of keys do to the gradients. Stores
  /// dq when the keys are all that the queries see (`with_dq`), dk and dv when the queries and heads are all that see
  /// these keys (`with_dkv`).
  void backward(In qkv, In y, In lse, In dy, Range heads, Range queries, Range keys, bool with_dq, bool with_dkv,
                Out dqkv) {
    const std::int64_t kv_head = kv_head_of(heads.begin);
    if (!with_dkv) keys.begin = std::max(keys.begin, first_seen(queries));
    load_keys(qkv, kv_head, keys);
    if (with_dkv) {
      dk_ = scratch(key_grads_slot, 2 * keys.length() * ld_);
      dv_ = dk_ + keys.length() * ld_;
      std::fill_n(dk_, 2 * keys.length() * ld_, 0.0F);
    }
    for (std::int64_t head = heads.begin; head < heads.end; ++head) {
      const float* const head_lse = lse.data<float>() + lse_row(head) * shape_.sequence_length;
      for_query_blocks(queries, [&](Range block) {
        const Range seen = {std::max(keys.begin, first_seen(block)), std::min(keys.end, block.end)};
        if (seen.length() <= 0 && !with_dq) return;  // the documents of these queries begin behind the keys
        load(y, head, block, out_);
        load(dy, head, block, dy_);
        rows_.delta(block.length(), dy_, out_, ld_, shape_.head_dim, stats_);
        load(qkv, head, block, q_);
        float* const dq = out_;  // y is not needed any more
        if (with_dq) std::fill_n(dq, block.length() * ld_, 0.0F);
        for_key_blocks(seen, [&](Range part) {
          const cpu::ScoreBlock scores = multiply_by_keys(q_, block, k_, part, scores_);
          multiply_by_keys(dy_, block, v_, part, dscores_);
          rows_.gradient(scores, head_lse + block.begin, stats_, dscores_);
          if (with_dkv) {
            multiply_transposed(scores_, block, part, dy_, dv_);
            multiply_transposed(dscores_, block, part, q_, dk_);
          }
          if (with_dq) multiply_scores(dscores_, block, part, k_, dq);
        });
        if (with_dq) store(dq, block, dqkv, head);
      });
    }
    if (with_dkv) {
      store(dk_, keys, dqkv, shape_.num_heads + kv_head);
      store(dv_, keys, dqkv, shape_.num_heads + shape_.num_kv_heads + kv_head);
    }
  }

 private:
  float* scratch(int slot, std::int64_t num_floats) const { return machine_.scratch(worker_, slot, num_floats); }
  std::int64_t kv_head_of(std::int64_t head) const { return head / (shape_.num_heads / shape_.num_kv_heads); }
  std::int64_t lse_row(std::int64_t head) const {
    return first_token_ / shape_.sequence_length * shape_.num_heads + head;
  }

  // Positions of one head of x [T, heads, head_dim].
  Matrix positions(const Tensor& x, std::int64_t head, Range range) const {
    return Matrix(x.raw(), x.dtype(), x.shape().inner()).at(first_token_ + range.begin, head * shape_.head_dim);
  }
  void load(const Tensor& x, std::int64_t head, Range range, float* to) const {
    cpu::load_block(machine_.isa, positions(x, head, range), range.length(), shape_.head_dim, to, ld_);
  }
  void store(const float* from, Range range, const Tensor& x, std::int64_t head) const {
    cpu::store_block(machine_.isa, from, ld_, range.length(), shape_.head_dim, positions(x, head, range), false);
  }
  void load_keys(const Tensor& qkv, std::int64_t kv_head, Range keys) {
    first_key_ = keys.begin;
    k_ = scratch(keys_slot, 2 * keys.length() * ld_);
    v_ = k_ + keys.length() * ld_;
    load(qkv, shape_.num_heads + kv_head, keys, k_);
    load(qkv, shape_.num_heads + shape_.num_kv_heads + kv_head, keys, v_);
  }

  // The first key that any of the queries sees.
  std::int64_t first_seen(Range queries) const { return starts_ == nullptr ? 0 : starts_[queries.begin]; }

  template <class Body>
  static void for_query_blocks(Range queries, const Body& body) {
    for (std::int64_t q = queries.begin; q < queries.end; q += query_block) {
      body(Range{q, std::min(q + query_block, queries.end)});
    }
  }
  template <class Body>
  static void for_key_blocks(Range keys, const Body& body) {
    for (std::int64_t k = keys.begin; k < keys.end; k += key_block) body(Range{k, std::min(k + key_block, keys.end)});
  }

  // scores [queries, keys] = x · matrix^T, with x [queries, head_dim] and rows `keys` of the matrix.
  cpu::ScoreBlock multiply_by_keys(const float* x, Range queries, const float* matrix, Range keys,
                                   float* scores) const {
    machine_.gemm.multiply({.transpose_b = Transpose::yes,
                            .m = queries.length(),
                            .n = keys.length(),
                            .k = shape_.head_dim,
                            .lda = ld_,
                            .ldb = ld_,
                            .ldc = score_ld},
                           x, matrix + (keys.begin - first_key_) * ld_, scores);
    return {scores,
            score_ld,
            queries.length(),
            keys.length(),
            queries.begin - keys.begin + 1,
            scale_,
            starts_ == nullptr ? nullptr : starts_ + queries.begin,
            keys.begin};
  }
  // to [queries, head_dim] += scores · rows `keys` of the matrix.
  void multiply_scores(const float* scores, Range queries, Range keys, const float* matrix, float* to) const {
    machine_.gemm.multiply({.m = queries.length(),
                            .n = shape_.head_dim,
                            .k = keys.length(),
                            .lda = score_ld,
                            .ldb = ld_,
                            .ldc = ld_,
                            .accumulate = true},
                           scores, matrix + (keys.begin - first_key_) * ld_, to);
  }
  // Rows `keys` of to += scores^T · x [queries, head_dim].
  void multiply_transposed(const float* scores, Range queries, Range keys, const float* x, float* to) const {
    machine_.gemm.multiply({.transpose_a = Transpose::yes,
                            .m = keys.length(),
                            .n = shape_.head_dim,
                            .k = queries.length(),
                            .lda = score_ld,
                            .ldb = ld_,
                            .ldc = ld_,
                            .accumulate = true},
                           scores, x, to + (keys.begin - first_key_) * ld_);
  }

  const Machine& machine_;
  const cpu::AttentionRows& rows_;
  const AttentionShape& shape_;
  std::int64_t first_token_;
  std::int64_t ld_;  // of all copies but scores
  float scale_;
  const std::int32_t* starts_;  // of the sequence's tokens, or null
  int worker_;
  std::int64_t first_key_ = 0;
  float *k_ = nullptr, *v_ = nullptr, *dk_ = nullptr, *dv_ = nullptr;  // [keys from first_key_ on, head_dim]
  float *q_, *dy_, *out_;                                              // [query_block, head_dim]
  float *scores_, *dscores_;                                           // [query_block, key_block]
  float* stats_;
};

Range tile_range(std::int64_t index, std::int64_t length) {
  return {index * tile, std::min((index + 1) * tile, length)};
}

}  // namespace

void CpuBackend::attention(In qkv, const AttentionShape& shape, Out y, Out lse) {
  check_attention(qkv, shape, y, lse);
  check_head_dim("attention", Device::cpu, shape.head_dim);
  const Machine on = machine();
  const std::int64_t num_tiles = num_chunks(shape.sequence_length, tile);
  const std::int64_t num_rows = shape.num_sequences * shape.num_heads;
  const auto task = [&](std::int64_t index, int worker) {
    const std::int64_t row = index % num_rows;
    const std::int64_t tile_index = num_tiles - 1 - index / num_rows;  // the last queries see most: begin with them
    HeadWorker head(on, shape, row / shape.num_heads, worker);
    head.forward(qkv, row % shape.num_heads, tile_range(tile_index, shape.sequence_length), y,
                 lse.data<float>() + row * shape.sequence_length);
  };
  pool_.parallel_for(num_rows * num_tiles, std::ref(task));
}

void CpuBackend::attention_backward(In qkv, In y, In lse, In dy, const AttentionShape& shape, Out dqkv) {
  check_attention_backward(qkv, y, lse, dy, shape, dqkv);
  check_head_dim("attention_backward", Device::cpu, shape.head_dim);
  const Machine on = machine();
  const std::int64_t num_kv_rows = shape.num_sequences * shape.num_kv_heads;
  const std::int64_t heads_per_kv = shape.num_heads / shape.num_kv_heads;
  const std::int64_t num_tiles = num_chunks(shape.sequence_length, tile);
  const Range all = {0, shape.sequence_length};
  const auto heads_of = [&](std::int64_t kv_row) {
    const std::int64_t first = kv_row % shape.num_kv_heads * heads_per_kv;
    return Range{first, first + heads_per_kv};
  };
  // With few key/value heads and long sequences: keys and values tile by tile, then queries tile by tile, at the price
  // of computing the scores twice.
  constexpr std::int64_t enough_tasks = 16;
  if (num_tiles <= 1 || num_kv_rows >= enough_tasks) {
    const auto task = [&](std::int64_t row, int worker) {
      HeadWorker(on, shape, row / shape.num_kv_heads, worker)
          .backward(qkv, y, lse, dy, heads_of(row), all, all, true, true, dqkv);
    };
    pool_.parallel_for(num_tiles == 0 ? 0 : num_kv_rows, std::ref(task));
    return;
  }
  const auto keys_task = [&](std::int64_t index, int worker) {
    const std::int64_t row = index % num_kv_rows;
    const Range keys = tile_range(index / num_kv_rows, shape.sequence_length);  // the first keys are seen most
    HeadWorker(on, shape, row / shape.num_kv_heads, worker)
        .backward(qkv, y, lse, dy, heads_of(row), {keys.begin, all.end}, keys, false, true, dqkv);
  };
  pool_.parallel_for(num_kv_rows * num_tiles, std::ref(keys_task));
  const std::int64_t num_rows = shape.num_sequences * shape.num_heads;
  const auto queries_task = [&](std::int64_t index, int worker) {
    const std::int64_t row = index % num_rows;
    const std::int64_t head = row % shape.num_heads;
    const Range queries = tile_range(num_tiles - 1 - index / num_rows, shape.sequence_length);
    HeadWorker(on, shape, row / shape.num_heads, worker)
        .backward(qkv, y, lse, dy, {head, head + 1}, queries, {0, queries.end}, true, false, dqkv);
  };
  pool_.parallel_for(num_rows * num_tiles, std::ref(queries_task));
}

}  // namespace artel
