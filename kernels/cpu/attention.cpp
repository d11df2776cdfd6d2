// Causal attention in blocks of queries and keys, copied to scratch, where the library multiplies small tiles
// (attention_blocks.h): of bf16 where the processor has such products, else of f32. Memory per worker grows with the
// sequence length, never with its square.

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>

#include "kernels/checks/attention.h"
#include "kernels/cpu/attention_blocks.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/products.h"
#include "kernels/cpu/rows/attention.h"
#include "kernels/cpu/tasks.h"
#include "kernels/cpu/tile_product.h"
#include "util/error.h"

namespace artel {
namespace {

using cpu::key_block;
using cpu::Machine;
using cpu::Matrix;
using cpu::query_block;

constexpr std::int64_t tile = 256;  // queries (or keys, in the first pass of a divided backward) of one task

// Slots of scratch.
constexpr int keys_slot = 0;       // keys and values of a range
constexpr int key_grads_slot = 1;  // their gradients
constexpr int scores_slot = 2;     // scores, and their gradients
constexpr int queries_slot = 3;    // blocks of queries: q and dy
constexpr int stats_slot = 4;      // numbers per query
constexpr int operands_slot = 5;   // scores as operands of products
constexpr int sums_slot = 6;       // f32 per query: y or dq
constexpr int workspace_slot = 7;  // the library's

struct Range {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t length() const { return end - begin; }
};

/// One worker on one sequence: copies of blocks in scratch and the products between them. Blocks: F32Blocks or
/// Bf16Blocks.
template <class Blocks>
class HeadWorker {
 public:
  using Value = typename Blocks::Value;

  HeadWorker(const Machine& machine, const Blocks& blocks, const AttentionShape& shape, std::int64_t sequence,
             int worker)
      : machine_(machine),
        blocks_(blocks),
        rows_(rows_of(machine.isa)),
        shape_(shape),
        first_token_(sequence * shape.sequence_length),
        ld_(blocks.ld()),
        scale_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)))),
        starts_(shape.document_starts.defined() ? shape.document_starts.data<std::int32_t>() + first_token_ : nullptr),
        worker_(worker) {
    constexpr std::int64_t num_scores = query_block * Blocks::score_ld(key_block);
    scores_ = scratch(scores_slot, 2 * num_scores);
    dscores_ = scores_ + num_scores;
    if constexpr (std::is_same_v<Value, float>) {
      p_ = scores_;
      ds_ = dscores_;
    } else {
      p_ = values(operands_slot, 2 * num_scores);
      ds_ = p_ + num_scores;
    }
    q_ = values(queries_slot, 2 * query_block * ld_);
    dy_ = q_ + query_block * ld_;
    out_ = scratch(sums_slot, query_block * ld_);
    stats_ = scratch(stats_slot, 2 * query_block);
    gemm_worker_ = {worker, scratch(workspace_slot, blocks.workspace_floats())};
  }

  /// y and lse of the queries of a head; `head_lse` [Q].
  void forward(In qkv, std::int64_t head, Range queries, Out y, float* head_lse) {
    load_keys(qkv, kv_head_of(head), {first_seen(queries), queries.end});
    float* const max = stats_;
    float* const sum = stats_ + query_block;
    for_query_blocks(queries, [&](Range block) {
      load(qkv, head, block, q_, Blocks::completed(block.length()));
      std::fill_n(out_, query_block * ld_, 0.0F);
      std::fill_n(max, block.length(), -std::numeric_limits<float>::infinity());
      std::fill_n(sum, block.length(), 0.0F);
      for_key_blocks({first_seen(block), block.end}, [&](Range keys) {
        const cpu::ScoreBlock scores = multiply_by_keys(q_, block, k_, keys, scores_);
        rows_.softmax(scores, p_, max, sum, out_, ld_, shape_.head_dim);
        complete(scores, p_);
        blocks_.by_scores(p_, block.length(), at_key(v_, keys), keys.length(), out_, gemm_worker_);
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
      const std::int64_t size = num_loaded(keys) * ld_;
      dk_ = scratch(key_grads_slot, 2 * size);
      dv_ = dk_ + size;
      std::fill_n(dk_, 2 * size, 0.0F);
    }
    for (std::int64_t head = heads.begin; head < heads.end; ++head) {
      const float* const head_lse = lse.data<float>() + lse_row(head) * shape_.sequence_length;
      for_query_blocks(queries, [&](Range block) {
        const Range seen = {std::max(keys.begin, first_seen(block)), std::min(keys.end, block.end)};
        if (seen.length() <= 0 && !with_dq) return;  // the documents of these queries begin behind the keys
        load_queries(qkv, y, dy, head, block);
        float* const dq = out_;  // y is not needed any more
        if (with_dq) std::fill_n(dq, query_block * ld_, 0.0F);
        for_key_blocks(seen, [&](Range part) {
          backward_block(block, part, head_lse + block.begin, with_dq ? dq : nullptr, with_dkv);
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
  // q, dy, and delta in stats_.
  void load_queries(In qkv, In y, In dy, std::int64_t head, Range block) {
    load(dy, head, block, dy_, Blocks::completed(block.length()));
    if constexpr (std::is_same_v<Value, float>) {
      load(y, head, block, out_, block.length());
      rows_.delta(block.length(), dy_, out_, ld_, shape_.head_dim, stats_);
    } else {
      const Matrix left = positions(dy, head, block), right = positions(y, head, block);
      rows_.delta(block.length(), static_cast<const Value*>(left.data), static_cast<const Value*>(right.data), left.ld,
                  shape_.head_dim, stats_);
    }
    load(qkv, head, block, q_, Blocks::completed(block.length()));
  }

  void backward_block(Range block, Range part, const float* lse, float* dq, bool with_dkv) {
    const cpu::ScoreBlock scores = multiply_by_keys(q_, block, k_, part, scores_);
    multiply_by_keys(dy_, block, v_, part, dscores_);
    rows_.gradient(scores, lse, stats_, dscores_, p_, ds_);
    complete(scores, p_);
    complete(scores, ds_);
    if (with_dkv) {
      blocks_.by_transposed(p_, block.length(), dy_, part.length(), at_key(dv_, part), gemm_worker_);
      blocks_.by_transposed(ds_, block.length(), q_, part.length(), at_key(dk_, part), gemm_worker_);
    }
    if (dq != nullptr) blocks_.by_scores(ds_, block.length(), at_key(k_, part), part.length(), dq, gemm_worker_);
  }

  float* scratch(int slot, std::int64_t num_floats) const { return machine_.scratch(worker_, slot, num_floats); }
  Value* values(int slot, std::int64_t num_values) const {
    return reinterpret_cast<Value*>(scratch(slot, num_values * static_cast<std::int64_t>(sizeof(Value)) / 4 + 1));
  }
  std::int64_t kv_head_of(std::int64_t head) const { return head / (shape_.num_heads / shape_.num_kv_heads); }
  std::int64_t lse_row(std::int64_t head) const {
    return first_token_ / shape_.sequence_length * shape_.num_heads + head;
  }

  // Positions of one head of x [T, heads, head_dim].
  Matrix positions(const Tensor& x, std::int64_t head, Range range) const {
    return Matrix(x.raw(), x.dtype(), x.shape().inner()).at(first_token_ + range.begin, head * shape_.head_dim);
  }
  // Zeros below, up to num_rows.
  void load(const Tensor& x, std::int64_t head, Range range, Value* to, std::int64_t num_rows) const {
    const Matrix from = positions(x, head, range);
    if constexpr (std::is_same_v<Value, float>) {
      cpu::load_block(machine_.isa, from, range.length(), shape_.head_dim, to, ld_);
    } else {
      cpu::copy_block(from, range.length(), shape_.head_dim, Matrix(to, DType::bf16, ld_));
    }
    std::fill_n(to + range.length() * ld_, (num_rows - range.length()) * ld_, Value{});
  }
  void store(const float* from, Range range, const Tensor& x, std::int64_t head) const {
    cpu::store_block(machine_.isa, from, ld_, range.length(), shape_.head_dim, positions(x, head, range), false);
  }
  // Rows in scratch for a range of keys: a block that begins at any of them may be completed.
  static std::int64_t num_loaded(Range keys) { return keys.length() + Blocks::completed(1) - 1; }
  void load_keys(const Tensor& qkv, std::int64_t kv_head, Range keys) {
    first_key_ = keys.begin;
    const std::int64_t num_rows = num_loaded(keys);
    k_ = values(keys_slot, 2 * num_rows * ld_);
    v_ = k_ + num_rows * ld_;
    load(qkv, shape_.num_heads + kv_head, keys, k_, num_rows);
    load(qkv, shape_.num_heads + shape_.num_kv_heads + kv_head, keys, v_, num_rows);
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

  template <class T>
  T* at_key(T* loaded, Range keys) const {
    return loaded + (keys.begin - first_key_) * ld_;
  }
  static const cpu::AttentionRows<Value>& rows_of(cpu::Isa isa) {
    if constexpr (std::is_same_v<Value, float>) {
      return cpu::attention_rows_f32(isa);
    } else {
      return cpu::attention_rows_bf16(isa);
    }
  }
  // Zeros for the queries that complete a block.
  static void complete(const cpu::ScoreBlock& block, Value* p) {
    std::fill_n(p + block.rows * block.ld, (Blocks::completed(block.rows) - block.rows) * block.ld, Value{});
  }

  // scores [queries, keys] = x · matrix^T, with x [queries, head_dim] and rows `keys` of the matrix.
  cpu::ScoreBlock multiply_by_keys(const Value* x, Range queries, const Value* matrix, Range keys,
                                   float* scores) const {
    blocks_.by_keys(x, queries.length(), at_key(matrix, keys), keys.length(), scores, gemm_worker_);
    return {scores,
            Blocks::score_ld(keys.length()),
            queries.length(),
            keys.length(),
            Blocks::completed(keys.length()),
            queries.begin - keys.begin + 1,
            scale_,
            starts_ == nullptr ? nullptr : starts_ + queries.begin,
            keys.begin};
  }

  const Machine& machine_;
  const Blocks& blocks_;
  const cpu::AttentionRows<Value>& rows_;
  const AttentionShape& shape_;
  std::int64_t first_token_;
  std::int64_t ld_;  // of all copies but scores
  float scale_;
  const std::int32_t* starts_;  // of the sequence's tokens, or null
  int worker_;
  std::int64_t first_key_ = 0;
  Value *k_ = nullptr, *v_ = nullptr;    // [keys from first_key_ on, head_dim]
  float *dk_ = nullptr, *dv_ = nullptr;  // the same
  Value *q_, *dy_;                       // [query_block, head_dim]
  float* out_;                           // the same: y or dq
  float *scores_, *dscores_;             // [query_block, key_block]
  Value *p_, *ds_;                       // the same as operands, which may be the same memory
  float* stats_;
  cpu::GemmWorker gemm_worker_;
};

Range tile_range(std::int64_t index, std::int64_t length) {
  return {index * tile, std::min((index + 1) * tile, length)};
}

template <class Blocks>
void forward(const Machine& on, const Blocks& blocks, In qkv, const AttentionShape& shape, Out y, Out lse) {
  const std::int64_t num_tiles = num_chunks(shape.sequence_length, tile);
  const std::int64_t num_rows = shape.num_sequences * shape.num_heads;
  const auto task = [&](std::int64_t index, int worker) {
    const std::int64_t row = index % num_rows;
    const std::int64_t tile_index = num_tiles - 1 - index / num_rows;  // the last queries see most: begin with them
    HeadWorker<Blocks> head(on, blocks, shape, row / shape.num_heads, worker);
    head.forward(qkv, row % shape.num_heads, tile_range(tile_index, shape.sequence_length), y,
                 lse.data<float>() + row * shape.sequence_length);
  };
  on.pool.parallel_for(num_rows * num_tiles, std::ref(task));
}

template <class Blocks>
void backward(const Machine& on, const Blocks& blocks, In qkv, In y, In lse, In dy, const AttentionShape& shape,
              Out dqkv) {
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
      HeadWorker<Blocks>(on, blocks, shape, row / shape.num_kv_heads, worker)
          .backward(qkv, y, lse, dy, heads_of(row), all, all, true, true, dqkv);
    };
    on.pool.parallel_for(num_tiles == 0 ? 0 : num_kv_rows, std::ref(task));
    return;
  }
  const auto keys_task = [&](std::int64_t index, int worker) {
    const std::int64_t row = index % num_kv_rows;
    const Range keys = tile_range(index / num_kv_rows, shape.sequence_length);  // the first keys are seen most
    HeadWorker<Blocks>(on, blocks, shape, row / shape.num_kv_heads, worker)
        .backward(qkv, y, lse, dy, heads_of(row), {keys.begin, all.end}, keys, false, true, dqkv);
  };
  on.pool.parallel_for(num_kv_rows * num_tiles, std::ref(keys_task));
  const std::int64_t num_rows = shape.num_sequences * shape.num_heads;
  const auto queries_task = [&](std::int64_t index, int worker) {
    const std::int64_t row = index % num_rows;
    const std::int64_t head = row % shape.num_heads;
    const Range queries = tile_range(num_tiles - 1 - index / num_rows, shape.sequence_length);
    HeadWorker<Blocks>(on, blocks, shape, row / shape.num_heads, worker)
        .backward(qkv, y, lse, dy, {head, head + 1}, queries, {0, queries.end}, true, false, dqkv);
  };
  on.pool.parallel_for(num_rows * num_tiles, std::ref(queries_task));
}

// Calls body with the blocks that serve operands of this type here.
template <class Body>
void with_blocks(const Machine& on, DType dtype, std::int64_t head_dim, const Body& body) {
  if (dtype == DType::bf16) {
    const cpu::Bf16Blocks blocks(on.gemm, head_dim);
    if (blocks.usable()) return body(blocks);
  }
  body(cpu::F32Blocks(on.gemm, head_dim));
}

}  // namespace

void CpuBackend::attention(In qkv, const AttentionShape& shape, Out y, Out lse) {
  check_attention(qkv, shape, y, lse);
  check_head_dim("attention", Device::cpu, shape.head_dim);
  with_blocks(machine(), qkv.dtype(), shape.head_dim,
              [&](const auto& blocks) { forward(machine(), blocks, qkv, shape, y, lse); });
}

void CpuBackend::attention_backward(In qkv, In y, In lse, In dy, const AttentionShape& shape, Out dqkv) {
  check_attention_backward(qkv, y, lse, dy, shape, dqkv);
  check_head_dim("attention_backward", Device::cpu, shape.head_dim);
  with_blocks(machine(), qkv.dtype(), shape.head_dim,
              [&](const auto& blocks) { backward(machine(), blocks, qkv, y, lse, dy, shape, dqkv); });
}

}  // namespace artel
