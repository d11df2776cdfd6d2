// Causal attention with grouped queries (shapes: kernels/backend.h), forward, after FlashAttention-2 (Dao, 2023): a
// block of 4 warps has 128 queries of one head, 32 for each warp, and goes over the keys and values before them tile by
// tile, with a running maximum and sum for every query.
//
// The sums of the output stay in registers: their way through shared memory for every tile would be four times that of
// the scores with heads of 128. Scores go that way once: each lane takes one row, so that maximum and sum need no other
// lane, and puts the probabilities where the scores were, as the left operand of the product with the values. When the
// maximum of a row grows, its sums are scaled where they lie by a factor that stands behind the row.
//
// While the warps compute, the next tile is on its way: the values during the scores, the next keys during the product
// with the values.

#include "kernels/cuda/attention.cuh"

#include "kernels/checks/attention.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/warp_tiles.cuh"

namespace artel {
namespace {

using cuda::AttentionSizes;
using simt::Pack;
using simt::warp_size;

constexpr int num_warps = 4;
constexpr int num_threads = num_warps * warp_size;
constexpr int num_queries = num_threads;  // of a block: one for each lane

// Keys of a tile: those that 8 KiB hold, so that each thread has four packs of a tile on the way.
template <class T, int head_dim>
constexpr int num_keys_of() {
  constexpr int fitting = 8192 / (head_dim * static_cast<int>(sizeof(T)));
  return fitting >= 64 ? 64 : fitting >= 32 ? 32 : 16;
}

template <class T, int head_dim>
struct Shared {
  static constexpr int num_keys = num_keys_of<T, head_dim>();
  static constexpr int ld = simt::padded<T>(head_dim);
  static constexpr int score_ld = num_keys + 4;  // floats; the first behind the scores is the factor of the row

  alignas(128) T queries[num_queries * ld];
  alignas(128) T keys[num_keys * ld];
  alignas(128) T values[num_keys * ld];
  alignas(128) float scores[num_queries * score_ld];  // of which every warp has its own rows
  simt::TilePositions positions[warp_size];
};

/// scores [32, num_keys] = the warp's queries · keys^T, not scaled.
template <class T, int head_dim>
__device__ void multiply_by_keys(const Shared<T, head_dim>& shared, int warp, float* scores) {
  using Memory = Shared<T, head_dim>;
  simt::WarpTiles<T, 2, Memory::num_keys / simt::tile_size> products;
  products.clear();
  products.template add_product<true, head_dim>(shared.queries + warp * warp_size * Memory::ld, Memory::ld, shared.keys,
                                                Memory::ld);
  products.store(scores, Memory::score_ld);
}

/// The running maximum of a query's scores, scaled to powers of 2, and the sum of the powers of 2 of what the scores
/// are less than it.
struct Softmax {
  float largest = -INFINITY;
  float sum = 0.0F;
};

/// The scores from num_hidden to num_visible of a row become powers of 2, less the largest, as T in the memory of the
/// scores; the others 0. The factor of what was summed before is put behind the row and returned. Without `documents`
/// num_hidden is 0, and one score at least is visible.
template <class T, int num_keys, bool documents>
__device__ float soften_row(float* row, int num_hidden, int num_visible, float scale, Softmax& state) {
  float scores[num_keys];
#pragma unroll
  for (int i = 0; i < num_keys; i += 4) {
    const auto four = *reinterpret_cast<const Pack<float, 4>*>(row + i);
#pragma unroll
    for (int j = 0; j < 4; ++j) scores[i + j] = four.values[j] * scale;
  }
  if (num_visible < num_keys) {
#pragma unroll
    for (int i = 0; i < num_keys; ++i) scores[i] = i < num_visible ? scores[i] : -INFINITY;
  }
  if (documents && num_hidden > 0) {
#pragma unroll
    for (int i = 0; i < num_keys; ++i) scores[i] = i < num_hidden ? -INFINITY : scores[i];
  }
  float largest = state.largest;
#pragma unroll
  for (const float score : scores) largest = fmaxf(largest, score);
  // Nothing seen so far: any number will do to take away from minus infinity.
  const float offset = documents && largest == -INFINITY ? 0.0F : largest;
  float sum = 0.0F;
#pragma unroll
  for (float& score : scores) {
    score = exp2f(score - offset);
    sum += score;
  }
  constexpr int width = simt::pack_width<T>;
#pragma unroll
  for (int i = 0; i < num_keys; i += width) {
    Pack<T, width> pack;
#pragma unroll
    for (int j = 0; j < width; ++j) pack.values[j] = simt::from_float<T>(scores[i + j]);
    reinterpret_cast<Pack<T, width>*>(row)[i / width] = pack;
  }
  const float factor = exp2f(state.largest - offset);
  row[num_keys] = factor;
  state.sum = state.sum * factor + sum;
  state.largest = largest;
  return factor;
}

/// The sums of a warp times the factors behind its rows of scores.
template <class T, int columns, int num_keys, int score_ld>
__device__ void scale_rows(simt::WarpTiles<T, 2, columns>& sums, const simt::TilePositions& positions,
                           const float* scores) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
#pragma unroll
    for (int i = 0; i < simt::elements_per_lane; ++i) {
      const float factor = scores[(r * simt::tile_size + positions.row(i)) * score_ld + num_keys];
#pragma unroll
      for (int c = 0; c < columns; ++c) sums.sums[r][c].x[i] *= factor;
    }
  }
}

/// What a block has to do: the tile of queries of a head, the last queries of all heads first, which see the most keys.
template <class T, int head_dim>
struct Place {
  int length;  // Q
  int row;     // of lse [B·H, Q]
  int first_query;
  std::int64_t first_token;
  std::int64_t stride;  // from token to token
  const T* queries;     // of the sequence and head
  const T* keys;
  const T* values;

  __device__ Place(const T* qkv, const AttentionSizes& sizes) : length(sizes.sequence_length) {
    const int num_rows = static_cast<int>(gridDim.x) / sizes.num_tiles;
    row = static_cast<int>(blockIdx.x) % num_rows;
    first_query = (sizes.num_tiles - 1 - static_cast<int>(blockIdx.x) / num_rows) * num_queries;
    first_token = static_cast<std::int64_t>(row / sizes.num_heads) * length;
    stride = static_cast<std::int64_t>(sizes.num_qkv_heads()) * head_dim;
    const int head = row % sizes.num_heads;
    queries = qkv + first_token * stride + head * head_dim;
    keys = qkv + first_token * stride + (sizes.num_heads + sizes.kv_head_of(head)) * head_dim;
    values = keys + sizes.num_kv_heads * head_dim;
  }
};

/// qkv [T, H + 2J, h] -> y [T, H, h], lse [B, H, Q], all =. A block for each tile of queries of each head, which begins
/// with the first key that its first query sees.
template <class T, int head_dim, bool documents>
__global__ void __launch_bounds__(num_threads, 2)
    attention_kernel(const T* __restrict__ qkv, AttentionSizes sizes, T* __restrict__ y, float* __restrict__ lse) {
  SIMT_DYNAMIC_SHARED(memory);
  using Memory = Shared<T, head_dim>;
  constexpr int num_keys = Memory::num_keys, ld = Memory::ld, score_ld = Memory::score_ld;
  Memory& shared = *reinterpret_cast<Memory*>(memory);
  const Place<T, head_dim> place(qkv, sizes);
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const int query = place.first_query + static_cast<int>(threadIdx.x);  // in the softmax and in the end
  const int last_query_of_warp = place.first_query + (warp + 1) * warp_size - 1;
  const int num_visible_keys = min(place.length, place.first_query + num_queries);
  const float scale = sizes.scale * cuda::log2_e;
  const int first_seen_by_block = documents ? sizes.document_starts[place.first_token + place.first_query] : 0;

  simt::TileCopy<T, num_keys, head_dim, num_threads> copy;
  const auto fetch = [&](const T* head, int first) {
    copy.fetch(head + first * place.stride, place.stride, place.length - first);
  };
#pragma unroll 1
  for (int q = 0; q < num_queries; q += num_keys) {
    fetch(place.queries, place.first_query + q);
    copy.put(shared.queries + q * ld);
  }
  fetch(place.keys, first_seen_by_block);
  copy.put(shared.keys);
  float* const scores = shared.scores + warp * warp_size * score_ld;
  if (warp == 0) shared.positions[threadIdx.x] = simt::TilePositions::find<T>(scores);
  simt::WarpTiles<T, 2, head_dim / simt::tile_size> sums;
  sums.clear();
  Softmax state;
  __syncthreads();

  for (int first_key = first_seen_by_block; first_key < num_visible_keys; first_key += num_keys) {
    fetch(place.values, first_key);
    bool sees_keys = first_key <= last_query_of_warp;
    int first_seen = 0;  // by the lane's query; read again for every tile, because a register of its own would spill
    if constexpr (documents) {
      if (query < place.length) first_seen = sizes.document_starts[place.first_token + query];
      sees_keys = sees_keys && first_key + num_keys > __shfl_sync(simt::full_mask, first_seen, 0);
    }
    if (sees_keys) {
      multiply_by_keys(shared, warp, scores);
      __syncwarp();
      const int lane = static_cast<int>(threadIdx.x) % warp_size;
      const float factor = soften_row<T, num_keys, documents>(scores + lane * score_ld, first_seen - first_key,
                                                              query - first_key + 1, scale, state);
      __syncwarp();
      if (__any_sync(simt::full_mask, factor != 1.0F)) {
        scale_rows<T, head_dim / simt::tile_size, num_keys, score_ld>(sums, shared.positions[lane], scores);
      }
    }
    copy.put(shared.values);
    __syncthreads();
    const int next_key = first_key + num_keys;
    const bool has_next = next_key < num_visible_keys;
    if (has_next) fetch(place.keys, next_key);
    if (sees_keys) {
      constexpr int probability_ld = score_ld * static_cast<int>(sizeof(float) / sizeof(T));
      sums.template add_product<false, num_keys>(reinterpret_cast<const T*>(scores), probability_ld, shared.values, ld);
    }
    if (has_next) copy.put(shared.keys);
    __syncthreads();
  }

  const bool is_valid = query < place.length;
  if (is_valid) {
    lse[static_cast<std::int64_t>(place.row) * place.length + query] = (state.largest + log2f(state.sum)) * cuda::ln_2;
  }
  T* const out = y + ((place.first_token + query) * sizes.num_heads + place.row % sizes.num_heads) * head_dim;
  const float inverse = 1.0F / state.sum;
  sums.for_each_run(scores, [&](int /*row: the lane's*/, int column, const auto& run) {
    if (is_valid) simt::store_run<T>(out + column, run, inverse);
  });
}

}  // namespace

void CudaBackend::attention(In qkv, const AttentionShape& shape, Out y, Out lse) {
  const char* const op = "attention";
  const DType act = check_attention(qkv, shape, y, lse);
  cuda::with_head_dim(op, shape.head_dim, [&](auto head_dim) {
    if (shape.num_tokens() == 0) return;
    cuda::with_act(act, [&](auto type) {
      using T = decltype(type);
      const AttentionSizes sizes(shape, num_queries);
      const cuda::AlignedInput<T> from(op, qkv, stream_, [&](auto n) { return scratch_of<T>(1, n); });
      const cuda::AlignedOutput<T> to(y, [&](auto n) { return scratch_of<T>(2, n); });
      const std::int64_t num_blocks = shape.num_sequences * shape.num_heads * sizes.num_tiles;
      cuda::with_documents(shape, [&](auto documents) {
        simt::launch(op, stream_, attention_kernel<T, head_dim, documents>, simt::num_blocks(op, num_blocks),
                     num_threads, sizeof(Shared<T, head_dim>), from.data(), sizes, to.data(),
                     cuda::device_data<float>(lse));
      });
      to.finish(op, stream_);
    });
  });
}

}  // namespace artel
