// The gradient of attention.cu (shapes: kernels/backend.h), after FlashAttention-2 (Dao, 2023), without atomics: one
// kernel has the keys and values of a block as its rows and goes over the queries that see them, all heads of the group
// one after another; the other has queries as its rows and goes over the keys. Scores are computed in both.
//
// With rows R and columns C of a tile, keys against queries or queries against keys, both compute
//   scores = R_0 · C_0^T,  dprobs = R_1 · C_1^T,  probs = exp(scale·scores - lse),  dscores = probs · (dprobs - delta)
// where 0 stands for queries and keys, 1 for dy and values, and delta is <dy, y> of the query. Then
//   dvalues += probs · dy (rows: keys),  drows += dscores · C_0 (times scale, in the end).
// Four warps share a tile, each a quarter of it for the scores and half of the rows and half of head_dim for the sums.

#include "kernels/checks/attention.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/warp_tiles.cuh"

namespace artel {
namespace {

using cuda::AttentionSizes;
using cuda::num_rows_of;
using cuda::QueryNumbers;
using cuda::Rows;
using cuda::SharedNumbers;
using cuda::Work;
using simt::tile_size;
using simt::warp_size;

constexpr int num_threads = cuda::gradient_threads;

// Beside the sums of two gradients of long heads there are few registers left: they go without the next tile on its
// way during the products, half of a quarter of the scores is computed at a time, and one step of a product.
template <int head_dim, Rows rows_are>
constexpr bool is_crowded = rows_are == Rows::keys&& head_dim >= 96;

template <class T, int head_dim>
struct Shared {
  static constexpr int num_rows = num_rows_of<T>;
  static constexpr int ld = simt::padded<T>(head_dim);
  static constexpr int score_ld = simt::padded<T>(num_rows);

  alignas(128) T rows[2][num_rows * ld];     // R_0, R_1
  alignas(128) T columns[2][num_rows * ld];  // C_0, C_1
  alignas(128) T dscores[num_rows * score_ld];
  alignas(128) T probs[num_rows * score_ld];  // last: not there if rows are queries
  static constexpr std::size_t size(Rows rows_are) {
    return sizeof(Shared) - (rows_are == Rows::keys ? 0 : sizeof(probs));
  }
};

/// Heads of one sequence in global memory.
template <class T>
struct Head {
  const T* data;
  std::int64_t stride;
};

/// Where things are in the tensors of one sequence.
template <class T, int head_dim>
struct Sequence {
  const T* qkv;
  const T* dy;
  std::int64_t first_token;
  int num_heads;
  int num_kv_heads;

  __device__ Sequence(const T* all_qkv, const T* all_dy, const AttentionSizes& sizes, int sequence)
      : first_token(static_cast<std::int64_t>(sequence) * sizes.sequence_length),
        num_heads(sizes.num_heads),
        num_kv_heads(sizes.num_kv_heads) {
    qkv = all_qkv + first_token * qkv_stride();
    dy = all_dy + first_token * dy_stride();
  }
  __device__ std::int64_t qkv_stride() const {
    return static_cast<std::int64_t>(num_heads + 2 * num_kv_heads) * head_dim;
  }
  __device__ std::int64_t dy_stride() const { return static_cast<std::int64_t>(num_heads) * head_dim; }

  /// R_i or C_i of `token` and those behind it: of queries of `head`, or of keys of `head`, a key/value head.
  __device__ Head<T> at(bool keys, int i, int head, int token) const {
    if (!keys && i == 1) return {dy + token * dy_stride() + head * head_dim, dy_stride()};
    const int slot = keys ? num_heads + i * num_kv_heads + head : head;
    return {qkv + token * qkv_stride() + slot * head_dim, qkv_stride()};
  }
};

/// What one warp does of a tile of scores: its quarter, whose first row and column these are.
template <class T, int head_dim, Rows rows_are, bool documents>
struct Quarter {
  static constexpr bool keys = rows_are == Rows::keys;
  static constexpr int num_rows = num_rows_of<T>;
  static constexpr int num_tiles = num_rows / 2 / tile_size;
  static constexpr int ld = Shared<T, head_dim>::ld, score_ld = Shared<T, head_dim>::score_ld;
  static constexpr int num_slices = is_crowded<head_dim, rows_are> ? num_tiles : 1;
  static constexpr int steps = is_crowded<head_dim, rows_are> ? 1 : 2;
  using Slice = simt::WarpTiles<T, num_tiles, num_tiles / num_slices>;
  using Numbers = SharedNumbers<num_rows, documents>;

  int row;
  int column;
  const simt::TilePositions* lanes;  // in shared memory

  /// probs (rows: keys) and dscores =. `distance`: from the position of the first row of the tile to that of the first
  /// column; a key is seen by the queries at its position and behind, with `documents` those that see as far back.
  /// first_key: position of the tile's first key. Queries behind the end of the sequence have dy = 0, and so whatever
  /// their probs are adds nothing.
  __device__ void compute(Shared<T, head_dim>& shared, const Numbers& queries, float scale, int distance,
                          int first_key) const {
#pragma unroll
    for (int slice = 0; slice < num_slices; ++slice) {
      compute_slice(shared, queries, scale, distance, first_key, column + slice * (num_rows / 2 / num_slices));
    }
  }

 private:
  __device__ void compute_slice(Shared<T, head_dim>& shared, const Numbers& queries, float scale, int distance,
                                int first_key, int first_column) const {
    Slice scores, dprobs;
    scores.clear();
    scores.template add_product<true, head_dim, steps>(shared.rows[0] + row * ld, ld,
                                                       shared.columns[0] + first_column * ld, ld);
    dprobs.clear();
    dprobs.template add_product<true, head_dim, steps>(shared.rows[1] + row * ld, ld,
                                                       shared.columns[1] + first_column * ld, ld);
    const simt::TilePositions positions = lanes[threadIdx.x % warp_size];
    constexpr int num_outer = keys ? num_tiles / num_slices : num_tiles;  // along the queries
    constexpr int num_inner = keys ? num_tiles : num_tiles / num_slices;
#pragma unroll
    for (int i = 0; i < simt::elements_per_lane; ++i) {
      const int i_row = row + positions.row(i);
      const int i_column = first_column + positions.column(i);
#pragma unroll
      for (int outer = 0; outer < num_outer; ++outer) {
        const int query = (keys ? i_column : i_row) + outer * tile_size;  // in the tile
        const float lse = queries.lse[query];
        const float delta = queries.delta[query];
        int num_hidden = 0;  // keys at the beginning of the tile
        if constexpr (documents) num_hidden = queries.first_seen[query] - first_key;
#pragma unroll
        for (int inner = 0; inner < num_inner; ++inner) {
          const int r = keys ? inner : outer;
          const int c = keys ? outer : inner;
          const int ahead = (i_row - i_column) + (r - c) * tile_size - distance;  // row's position less column's
          const float power = exp2f(fmaf(scores.sums[r][c].x[i], scale, -lse));
          const int key = keys ? i_row + r * tile_size : i_column + c * tile_size;  // in the tile
          const bool is_seen = (keys ? ahead <= 0 : ahead >= 0) && (!documents || key >= num_hidden);
          const float prob = is_seen ? power : 0.0F;
          const float dscore = prob * (dprobs.sums[r][c].x[i] - delta);
          const int at = i_row * score_ld + i_column + (r * score_ld + c) * tile_size;
          if constexpr (keys) shared.probs[at] = simt::from_float<T>(prob);
          shared.dscores[at] = simt::from_float<T>(dscore);
        }
      }
    }
  }
};

/// What brings R_0 and R_1, or C_0 and C_1, and the numbers of the queries from global to shared memory.
template <class T, int head_dim, bool documents>
class TileLoader {
 public:
  static constexpr int num_rows = num_rows_of<T>;
  static constexpr int ld = Shared<T, head_dim>::ld;
  using Numbers = SharedNumbers<num_rows, documents>;

  /// lse and delta [H, Q] and with `documents` starts [Q] are those of the sequence.
  __device__ TileLoader(const Sequence<T, head_dim>& sequence, const float* lse, const float* delta, const int* starts,
                        int length)
      : sequence_(sequence), lse_(lse), delta_(delta), starts_(starts), length_(length) {}

  /// R_i or C_i; the numbers of the queries come with dy.
  template <bool are_keys, int i>
  __device__ void fetch(int head, int first) {
    const Head<T> from = sequence_.at(are_keys, i, head, first);
    copies_[i].fetch(from.data, from.stride, length_ - first);
    if constexpr (!are_keys && i == 1) {
      const std::int64_t at = static_cast<std::int64_t>(head) * length_;
      numbers_.fetch(lse_ + at, delta_ + at, first, length_);
      first_query_ = first;
    }
  }
  template <bool are_keys, int i>
  __device__ void put(T (&to)[2][num_rows * ld], Numbers& numbers) const {
    copies_[i].put(to[i]);
    if constexpr (!are_keys && i == 1) {
      numbers_.put(numbers);
      if constexpr (documents) {  // not fetched ahead: there is no register left
        const int query = static_cast<int>(threadIdx.x);
        if (query < num_rows) {
          numbers.first_seen[query] = first_query_ + query < length_ ? starts_[first_query_ + query] : 0;
        }
      }
    }
  }

 private:
  const Sequence<T, head_dim>& sequence_;
  const float* lse_;
  const float* delta_;
  const int* starts_;
  int length_;
  int first_query_ = 0;
  simt::TileCopy<T, num_rows, head_dim, num_threads> copies_[2];
  QueryNumbers<num_rows> numbers_;
};

/// Gradients of the rows: dq of a query head, or dk and dv of a key/value head, summed over the heads of its group in
/// ascending order. A block for each tile of rows of each head.
/// qkv, dqkv (=) [T, H + 2J, h], dy [T, H, h], lse, delta [B, H, Q].
template <class T, int head_dim, Rows rows_are, bool documents>
__global__ void __launch_bounds__(num_threads, 2)
    gradient_kernel(const T* __restrict__ qkv, const T* __restrict__ dy, const float* __restrict__ lse,
                    const float* __restrict__ delta, AttentionSizes sizes, T* __restrict__ dqkv) {
  SIMT_DYNAMIC_SHARED(memory);
  using Memory = Shared<T, head_dim>;
  constexpr bool keys = rows_are == Rows::keys;
  constexpr int num_rows = Memory::num_rows, ld = Memory::ld, score_ld = Memory::score_ld;
  constexpr bool early = !is_crowded<head_dim, rows_are>;
  constexpr int steps = early ? 2 : 1;
  using Numbers = SharedNumbers<num_rows, documents>;
  SIMT_SHARED(Numbers, query_numbers, [1]);
  SIMT_SHARED(simt::TilePositions, positions, [warp_size]);
  Memory& shared = *reinterpret_cast<Memory*>(memory);
  const int length = sizes.sequence_length;
  const Work<T, head_dim, rows_are, documents> work(sizes);
  const Sequence<T, head_dim> sequence(qkv, dy, sizes, work.sequence);
  const std::int64_t first_query = static_cast<std::int64_t>(work.sequence) * sizes.num_heads * length;
  TileLoader<T, head_dim, documents> loader(sequence, lse + first_query, delta + first_query,
                                            documents ? sizes.document_starts + sequence.first_token : nullptr, length);

  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  if (warp == 0) positions[threadIdx.x] = simt::TilePositions::find<T>(reinterpret_cast<float*>(shared.dscores));
  const int warp_row = warp / 2 * (num_rows / 2);
  const int warp_column = warp % 2 * (head_dim / 2);  // of the sums
  const Quarter<T, head_dim, rows_are, documents> quarter{warp_row, warp % 2 * (num_rows / 2), positions};
  using Sums = simt::WarpTiles<T, num_rows / 2 / tile_size, head_dim / 2 / tile_size>;
  const auto fetch_columns = [&](auto i, int step) {
    loader.template fetch<!keys, i>(work.head_of_columns(step), work.first_column(step));
  };
  const auto put_columns = [&](auto i) { loader.template put<!keys, i>(shared.columns, query_numbers[0]); };
  constexpr std::integral_constant<int, 0> first;
  constexpr std::integral_constant<int, 1> second;
  loader.template fetch<keys, first>(work.head, work.first_row());
  loader.template fetch<keys, second>(work.head, work.first_row());
  loader.template put<keys, first>(shared.rows, query_numbers[0]);
  loader.template put<keys, second>(shared.rows, query_numbers[0]);
  fetch_columns(first, 0);
  fetch_columns(second, 0);
  put_columns(first);
  put_columns(second);
  __syncthreads();
  Sums drows, dvalues;
  drows.clear();
  if constexpr (keys) dvalues.clear();
  const int num_steps = work.num_steps();
#pragma unroll 1
  for (int step = 0; step < num_steps; ++step) {
    quarter.compute(shared, query_numbers[0], sizes.scale * cuda::log2_e, work.first_column(step) - work.first_row(),
                    keys ? work.first_row() : work.first_column(step));
    __syncthreads();
    const bool has_next = step + 1 < num_steps;
    if (early && has_next) fetch_columns(second, step + 1);
    if constexpr (keys) {
      dvalues.template add_product<false, num_rows, steps>(shared.probs + warp_row * score_ld, score_ld,
                                                           shared.columns[1] + warp_column, ld);
      __syncthreads();
      if (!early && has_next) fetch_columns(second, step + 1);
      if (has_next) put_columns(second);
    }
    if (early && has_next) fetch_columns(first, step + 1);
    drows.template add_product<false, num_rows, steps>(shared.dscores + warp_row * score_ld, score_ld,
                                                       shared.columns[0] + warp_column, ld);
    __syncthreads();
    if (has_next) {
      if constexpr (!keys) put_columns(second);
      if (!early) fetch_columns(first, step + 1);
      put_columns(first);
    }
    __syncthreads();
  }

  static_assert(4 * Sums::staging_size * sizeof(float) <= sizeof(shared.columns));
  float* const staging = reinterpret_cast<float*>(shared.columns) + warp * Sums::staging_size;
  const auto write = [&](const Sums& sums, int i, float factor) {
    const Head<T> like = sequence.at(keys, i, work.head, work.first_row() + warp_row);
    T* const out = dqkv + (like.data - qkv) + warp_column;  // dqkv has the layout of qkv
    const int num_valid = length - work.first_row() - warp_row;
    sums.for_each_run(staging, [&](int row, int column, const auto& run) {
      if (row < num_valid) simt::store_run<T>(out + row * like.stride + column, run, factor);
    });
  };
  write(drows, 0, sizes.scale);
  if constexpr (keys) write(dvalues, 1, 1.0F);
}

constexpr int delta_threads = 256;
constexpr int lanes_per_row = 16;  // of delta_kernel, two elements each at a time
constexpr int rows_per_block = delta_threads / lanes_per_row;

/// delta [B, H, Q] = <dy, y> for every query of every head. y, dy [T, H, h].
template <class T, int head_dim>
__global__ void __launch_bounds__(delta_threads)
    delta_kernel(const T* __restrict__ y, const T* __restrict__ dy, AttentionSizes sizes, std::int64_t num_rows,
                 float* __restrict__ delta) {
  const int lane = static_cast<int>(threadIdx.x) % lanes_per_row;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * rows_per_block + threadIdx.x / lanes_per_row;
  float sum = 0.0F;
  if (row < num_rows) {
#pragma unroll
    for (int i = 0; i < head_dim; i += 2 * lanes_per_row) {
      const std::int64_t at = row * head_dim + i + 2 * lane;
#pragma unroll
      for (int j = 0; j < 2; ++j) sum = fmaf(simt::to_float(y[at + j]), simt::to_float(dy[at + j]), sum);
    }
  }
#pragma unroll
  for (int offset = lanes_per_row / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(simt::full_mask, sum, offset);
  if (lane == 0 && row < num_rows) {
    const std::int64_t token = row / sizes.num_heads;
    const std::int64_t head = row % sizes.num_heads;
    const std::int64_t sequence = token / sizes.sequence_length;
    const std::int64_t position = token % sizes.sequence_length;
    delta[(sequence * sizes.num_heads + head) * sizes.sequence_length + position] = sum;
  }
}

}  // namespace

void CudaBackend::attention_backward(In qkv, In y, In lse, In dy, const AttentionShape& shape, Out dqkv) {
  const char* const op = "attention_backward";
  const DType act = check_attention_backward(qkv, y, lse, dy, shape, dqkv);
  cuda::with_head_dim(op, shape.head_dim, [&](auto head_dim) {
    if (shape.num_tokens() == 0) return;
    cuda::with_act(act, [&](auto type) {
      using T = decltype(type);
      using Memory = Shared<T, head_dim>;
      const cuda::AlignedInput<T> from(op, qkv, stream_, [&](auto n) { return scratch_of<T>(1, n); });
      const cuda::AlignedInput<T> dy_from(op, dy, stream_, [&](auto n) { return scratch_of<T>(2, n); });
      const cuda::AlignedOutput<T> to(dqkv, [&](auto n) { return scratch_of<T>(3, n); });
      const float* const lse_data = cuda::device_data<float>(lse);
      const AttentionSizes sizes(shape, Memory::num_rows);
      const std::int64_t num_queries = shape.num_tokens() * shape.num_heads;
      float* const delta = scratch_of<float>(0, num_queries);
      simt::launch(op, stream_, delta_kernel<T, head_dim>,
                   simt::num_blocks(op, simt::ceil_div<std::int64_t>(num_queries, rows_per_block)), delta_threads, 0,
                   cuda::device_data<T>(y), dy_from.data(), sizes, num_queries, delta);
      const std::int64_t num_tiles = shape.num_sequences * sizes.num_tiles;
      cuda::with_documents(shape, [&](auto documents) {
        simt::launch(op, stream_, gradient_kernel<T, head_dim, Rows::keys, documents>,
                     simt::num_blocks(op, num_tiles * shape.num_kv_heads), num_threads, Memory::size(Rows::keys),
                     from.data(), dy_from.data(), lse_data, delta, sizes, to.data());
        simt::launch(op, stream_, gradient_kernel<T, head_dim, Rows::queries, documents>,
                     simt::num_blocks(op, num_tiles * shape.num_heads), num_threads, Memory::size(Rows::queries),
                     from.data(), dy_from.data(), lse_data, delta, sizes, to.data());
      });
      to.finish(op, stream_);
    });
  });
}

}  // namespace artel
