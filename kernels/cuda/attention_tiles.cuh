#pragma once

#include "kernels/cuda/attention.cuh"

// How the gradient of attention is divided into tiles, and the numbers of queries that the tiles need (shapes:
// kernels/backend.h; attention_backward.cu).

namespace artel::cuda {

constexpr int gradient_threads = 4 * simt::warp_size;  // of a block

/// Whose gradients a block computes.
enum class Rows : bool { queries, keys };

// Rows and columns of a tile: six matrices must fit into shared memory.
template <class T>
constexpr int num_rows_of = sizeof(T) == 2 ? 64 : 32;

/// lse as a power of 2 and delta of the queries of a tile, and with `documents` the first position that each sees.
template <int num_queries, bool documents>
struct SharedNumbers {
  float lse[num_queries];
  float delta[num_queries];
};
template <int num_queries>
struct SharedNumbers<num_queries, true> {
  float lse[num_queries];
  float delta[num_queries];
  int first_seen[num_queries];
};

/// lse and delta on their way to shared memory in one register per thread.
template <int num_queries>
class QueryNumbers {
 public:
  /// Of query `first` and those behind it; lse and delta [Q] are those of the head.
  __device__ void fetch(const float* lse, const float* delta, int first, int length) {
    const int i = static_cast<int>(threadIdx.x);
    value_ = 0.0F;
    if (i < num_queries) {
      if (first + i < length) value_ = lse[first + i] * log2_e;
    } else if (i < 2 * num_queries) {
      if (first + i - num_queries < length) value_ = delta[first + i - num_queries];
    }
  }
  template <class Shared>
  __device__ void put(Shared& to) const {
    const int i = static_cast<int>(threadIdx.x);
    if (i < num_queries) {
      to.lse[i] = value_;
    } else if (i < 2 * num_queries) {
      to.delta[i - num_queries] = value_;
    }
  }

 private:
  static_assert(2 * num_queries <= gradient_threads);
  float value_;
};

/// What a block has to do: a tile of rows of one head, those that meet the most columns first. Keys meet the queries
/// from their own tile on, of one head of the group after another; queries meet the keys up to their own tile. With
/// `documents` tiles wholly in other documents are left out at both ends.
template <class T, int head_dim, Rows rows_are, bool documents>
struct Work {
  static constexpr bool keys = rows_are == Rows::keys;

  int sequence;
  int head;
  int row_tile;
  int group_size;      // H / J
  int first_tile = 0;  // of the columns, where rows are queries
  int tiles_of_head;   // column tiles that one head has for these rows

  __device__ explicit Work(const AttentionSizes& sizes) : group_size(sizes.num_heads / sizes.num_kv_heads) {
    const int num_heads = keys ? sizes.num_kv_heads : sizes.num_heads;
    const int num_heads_of_all = static_cast<int>(gridDim.x) / sizes.num_tiles;
    const int index = static_cast<int>(blockIdx.x) % num_heads_of_all;
    const int order = static_cast<int>(blockIdx.x) / num_heads_of_all;
    sequence = index / num_heads;
    head = index % num_heads;
    row_tile = keys ? order : sizes.num_tiles - 1 - order;
    tiles_of_head = keys ? sizes.num_tiles - row_tile : row_tile + 1;
    if constexpr (documents) {
      const int* const starts = sizes.document_starts + static_cast<std::int64_t>(sequence) * sizes.sequence_length;
      if constexpr (keys) {
        tiles_of_head = count_tiles_that_see(starts, sizes.num_tiles);
      } else {
        first_tile = starts[first_row()] / num_rows_of<T>;
        tiles_of_head -= first_tile;
      }
    }
  }
  __device__ int num_steps() const { return keys ? group_size * tiles_of_head : tiles_of_head; }
  __device__ int first_row() const { return row_tile * num_rows_of<T>; }
  __device__ int first_column(int step) const {
    return ((keys ? row_tile : first_tile) + step % tiles_of_head) * num_rows_of<T>;
  }
  __device__ int head_of_columns(int step) const {
    return keys ? head * group_size + step / tiles_of_head : head / group_size;
  }

 private:
  // Tiles of queries, from the rows' own on, that see the last of these keys or further back. All lanes call it.
  __device__ int count_tiles_that_see(const int* starts, int num_tiles) const {
    const int lane = static_cast<int>(threadIdx.x) % simt::warp_size;
    const int last_key = first_row() + num_rows_of<T> - 1;
    int count = 0;
    for (int tile = row_tile; tile < num_tiles; tile += simt::warp_size) {
      const bool sees = tile + lane < num_tiles && starts[(tile + lane) * num_rows_of<T>] <= last_key;
      const int num_seeing = __popc(__ballot_sync(simt::full_mask, sees));
      count += num_seeing;
      if (num_seeing < simt::warp_size) break;
    }
    return count;
  }
};

}  // namespace artel::cuda
