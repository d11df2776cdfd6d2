#include "kernels/checks/embedding.h"

#include <bit>
#include <limits>
#include <string>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"
#include "util/error.h"

// The backward sorts the tokens by id (a stable radix sort), so that the rows of dy that meet in a row of dtable lie in
// one run, in ascending token order, and adds up every run from front to back: no atomics, and the very order of the
// contract. Expected on an H100 for T = 64 k tokens of d = 2048 in bf16, computed and not measured:
// - The sort moves 8 bytes per token and pass and waits for launches: one pass of three kernels for up to 512 ids
//   (bytes), two for up to 262,144, about 15 us each.
// - Adding reads dy once (268 MB, 90 us at 3 TB/s) and reads and writes 8 KB for every id that occurs (another 90 us
//   for 16 k of them).
// - A sum over n tokens is a chain of n additions. Of 64 k bytes of text the blank alone has some 10 k: a warp that
//   loads a row when it has added the last, 0.7 us each, would need 7 ms. Runs longer than a window have a block
//   instead, whose warps load batches of rows while one of them adds, and hand the sums on: about 7 ns a row, 75 us
//   for the blank, while other blocks are at work on the rest.

namespace artel {
namespace {

using simt::Pack;
using simt::RawPack;

// ---- sort

constexpr int digit_bits = 9;
constexpr int num_digits = 1 << digit_bits;
constexpr int tile_size = 1024;  // tokens of one warp
constexpr int loads = 8;         // rounds of a warp whose loads are under way together

__device__ int digit_of(std::int32_t id, int shift) {
  return static_cast<int>((static_cast<std::uint32_t>(id) >> shift) & (num_digits - 1));
}

/// counts [num_tiles, num_digits] = how often each digit occurs in each tile of ids [T]; a warp per tile.
__global__ void __launch_bounds__(simt::warp_size)
    count_digits_kernel(const std::int32_t* ids, std::int64_t num_tokens, int shift, std::int32_t* counts) {
  SIMT_SHARED(std::int32_t, tile_counts, [num_digits]);
  const int lane = static_cast<int>(threadIdx.x);
  for (int digit = lane; digit < num_digits; digit += simt::warp_size) tile_counts[digit] = 0;
  __syncwarp();
  const std::int64_t first = std::int64_t{blockIdx.x} * tile_size;
#pragma unroll 8
  for (int k = lane; k < tile_size; k += simt::warp_size) {
    if (first + k < num_tokens) atomicAdd(&tile_counts[digit_of(ids[first + k], shift)], 1);
  }
  __syncwarp();
  for (int digit = lane; digit < num_digits; digit += simt::warp_size) {
    counts[std::int64_t{blockIdx.x} * num_digits + digit] = tile_counts[digit];
  }
}

/// counts [num_tiles, num_digits] become the positions at which the digits of each tile begin when all tokens are in
/// the order of their digits; one block, a thread per digit.
__global__ void __launch_bounds__(num_digits) begin_digits_kernel(std::int32_t* counts, std::int64_t num_tiles) {
  SIMT_SHARED(std::int32_t, warp_totals, [num_digits / simt::warp_size]);
  const int digit = static_cast<int>(threadIdx.x);
  const int lane = digit % simt::warp_size;
  std::int32_t total = 0;
#pragma unroll 8
  for (std::int64_t tile = 0; tile < num_tiles; ++tile) total += counts[tile * num_digits + digit];
  std::int32_t through = total;  // of this digit and those before it
  for (int reach = 1; reach < simt::warp_size; reach *= 2) {
    const std::int32_t before = __shfl_up_sync(simt::full_mask, through, static_cast<unsigned>(reach));
    if (lane >= reach) through += before;
  }
  if (lane == simt::warp_size - 1) warp_totals[digit / simt::warp_size] = through;
  __syncthreads();
  std::int32_t position = through - total;
  for (int warp = 0; warp < digit / simt::warp_size; ++warp) position += warp_totals[warp];
#pragma unroll 8
  for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
    const std::int32_t count = counts[tile * num_digits + digit];
    counts[tile * num_digits + digit] = position;
    position += count;
  }
}

/// ids and tokens (null: 0 .. T-1) in the order of their digits, those of one digit in the order that they had.
/// begins [num_tiles, num_digits]; a warp per tile.
__global__ void __launch_bounds__(simt::warp_size)
    place_tokens_kernel(const std::int32_t* ids, const std::int32_t* tokens, std::int64_t num_tokens, int shift,
                        const std::int32_t* begins, std::int32_t* sorted_ids, std::int32_t* sorted_tokens) {
  SIMT_SHARED(std::int32_t, next, [num_digits]);  // the position of the next token of each digit
  const int lane = static_cast<int>(threadIdx.x);
  for (int digit = lane; digit < num_digits; digit += simt::warp_size) {
    next[digit] = begins[std::int64_t{blockIdx.x} * num_digits + digit];
  }
  __syncwarp();
  const std::int64_t tile = std::int64_t{blockIdx.x} * tile_size + lane;
  for (int round = 0; round < tile_size / simt::warp_size; round += loads) {
    const std::int64_t first = tile + round * simt::warp_size;
    if (first - lane >= num_tokens) break;  // the same for all lanes
    std::int32_t id[loads];
    std::int32_t token[loads];
#pragma unroll
    for (int k = 0; k < loads; ++k) {
      const std::int64_t i = first + k * simt::warp_size;
      id[k] = i < num_tokens ? ids[i] : 0;
      token[k] = tokens == nullptr ? static_cast<std::int32_t>(i) : (i < num_tokens ? tokens[i] : 0);
    }
#pragma unroll
    for (int k = 0; k < loads; ++k) {
      const bool present = first + k * simt::warp_size < num_tokens;
      const int digit = digit_of(id[k], shift);
      unsigned peers = __ballot_sync(simt::full_mask, present);  // lanes with a token of the same digit
      for (int bit = 0; bit < digit_bits; ++bit) {
        const bool set = (digit >> bit & 1) != 0;
        const unsigned with_bit = __ballot_sync(simt::full_mask, set);
        peers &= set ? with_bit : ~with_bit;
      }
      const int rank = __popc(peers & ((1U << lane) - 1));
      const std::int32_t begin = next[digit];
      __syncwarp();
      if (present && rank == 0) next[digit] = begin + __popc(peers);
      __syncwarp();
      if (!present) continue;
      sorted_ids[begin + rank] = id[k];
      sorted_tokens[begin + rank] = token[k];
    }
  }
}

// ---- sums

constexpr int window_size = 64;  // positions whose runs one block adds
constexpr int num_warps = 8;
constexpr int block_size = num_warps * simt::warp_size;
constexpr int batch_size = 16;  // rows of a long run that a warp has under way
constexpr int few = 4;          // the same for a short run
constexpr int num_known = 2 * window_size + few;

/// T tokens in the order of their ids, and dy [T, d].
template <class T>
struct SortedRows {
  const std::int32_t* ids;
  const std::int32_t* tokens;
  std::int64_t num_tokens;
  const T* dy;
  std::int64_t d;
};

template <class T, int width>
__device__ RawPack<T, width> load_columns(const T* row, std::int64_t column, std::int64_t d) {
  return column < d ? *reinterpret_cast<const RawPack<T, width>*>(row + column) : RawPack<T, width>{};
}

template <class T, int width>
__device__ void add_columns(Pack<float, width>& sums, const RawPack<T, width>& raw) {
  const Pack<T, width> row = raw.unpack();
#pragma unroll
  for (int k = 0; k < width; ++k) sums.values[k] += simt::to_float(row.values[k]);
}

/// The position after the run of `id`, of which `inside` is one: a search by the whole block.
__device__ std::int64_t end_of_run(const std::int32_t* ids, std::int64_t num_tokens, std::int32_t id,
                                   std::int64_t inside) {
  std::int64_t end = num_tokens;
  while (end - inside > 1) {
    const std::int64_t step = simt::ceil_div<std::int64_t>(end - inside, block_size);
    const std::int64_t probe = inside + (threadIdx.x + std::int64_t{1}) * step;
    const int num_inside = __syncthreads_count(probe < end && ids[probe] == id ? 1 : 0);
    inside += num_inside * step;
    if (end > inside + step) end = inside + step;
  }
  return end;
}

/// to [d] += the rows of the run at positions begin .. end-1, columns column .. column+width-1, by the whole block:
/// warps take turns with batches of rows and hand the sums on, and load the next batch while others add.
template <class T, int width>
__device__ void add_long_run(const SortedRows<T>& rows, std::int64_t begin, std::int64_t end, std::int64_t column,
                             Pack<float, width>* handed_on, float* to) {
  const int lane = static_cast<int>(threadIdx.x) % simt::warp_size;
  const int warp = static_cast<int>(threadIdx.x) / simt::warp_size;
  RawPack<T, width> batch[batch_size];
  const auto load = [&](std::int64_t first) {
#pragma unroll
    for (int k = 0; k < batch_size; ++k) {
      if (first + k < end) {
        batch[k] = load_columns<T, width>(rows.dy + rows.tokens[first + k] * rows.d, column, rows.d);
      }
    }
  };
  std::int64_t mine = begin + warp * batch_size;
  load(mine);
  if (warp == 0) handed_on[lane] = load_columns<float, width>(to, column, rows.d).unpack();
  for (std::int64_t round = begin; round < end; round += num_warps * batch_size) {
    for (int turn = 0; turn < num_warps; ++turn) {
      if (warp == turn && mine < end) {
        Pack<float, width> sums = handed_on[lane];
#pragma unroll
        for (int k = 0; k < batch_size; ++k) {
          if (mine + k < end) add_columns(sums, batch[k]);
        }
        handed_on[lane] = sums;
        mine += num_warps * batch_size;
        load(mine);
      }
      __syncthreads();
    }
  }
  if (warp == 0 && column < rows.d) *reinterpret_cast<Pack<float, width>*>(to + column) = handed_on[lane];
}

/// dtable [V, d] += the rows of the runs that begin at positions window_size·w .., 32·width columns of them, for every
/// pair of a window w and columns one block. A run no longer than a window is added by one warp.
template <class T, int width>
__global__ void __launch_bounds__(block_size, 2)
    add_runs_kernel(SortedRows<T> rows, int num_column_blocks, float* dtable) {
  using Sums = Pack<float, width>;
  SIMT_SHARED(std::int32_t, ids, [num_known + 1]);  // of positions first - 1 .., -1 where there is none
  SIMT_SHARED(std::int32_t, tokens, [num_known]);   // of positions first ..
  SIMT_SHARED(Sums, handed_on, [simt::warp_size]);
  SIMT_SHARED(int, long_run, [1]);  // where in the window a long run begins, or -1; no window has two
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % simt::warp_size;
  const int warp = thread / simt::warp_size;
  const std::int64_t first = std::int64_t{blockIdx.x / num_column_blocks} * window_size;
  const std::int64_t column = (std::int64_t{blockIdx.x % num_column_blocks} * simt::warp_size + lane) * width;
  for (int k = thread; k <= num_known; k += block_size) {
    const std::int64_t position = first + k - 1;
    ids[k] = position >= 0 && position < rows.num_tokens ? rows.ids[position] : -1;
    if (k > 0) tokens[k - 1] = position < rows.num_tokens ? rows.tokens[position] : 0;
  }
  if (thread == 0) long_run[0] = -1;
  __syncthreads();

  constexpr int positions_per_warp = window_size / num_warps;
  for (int begin = warp * positions_per_warp; begin < (warp + 1) * positions_per_warp; ++begin) {
    const std::int32_t id = ids[begin + 1];
    if (id < 0 || ids[begin] == id) continue;  // no token, or one of a run that began before
    if (ids[begin + 1 + window_size] == id) {
      if (lane == 0) long_run[0] = begin;
      break;
    }
    float* const to = dtable + id * rows.d;
    Sums sums = load_columns<float, width>(to, column, rows.d).unpack();
    const auto row = [&](int k) { return load_columns<T, width>(rows.dy + tokens[k] * rows.d, column, rows.d); };
    int k = begin;
    for (; ids[k + few] == id; k += few) {
      RawPack<T, width> batch[few];
#pragma unroll
      for (int j = 0; j < few; ++j) batch[j] = row(k + j);
#pragma unroll
      for (int j = 0; j < few; ++j) add_columns(sums, batch[j]);
    }
    for (; ids[k + 1] == id; ++k) add_columns(sums, row(k));
    if (column < rows.d) *reinterpret_cast<Sums*>(to + column) = sums;
  }
  __syncthreads();
  if (long_run[0] < 0) return;  // the same for all threads
  const std::int64_t begin = first + long_run[0];
  const std::int32_t id = ids[long_run[0] + 1];
  const std::int64_t end = end_of_run(rows.ids, rows.num_tokens, id, begin + window_size);
  add_long_run<T, width>(rows, begin, end, column, handed_on, dtable + id * rows.d);
}

template <class T, int width>
void add_runs(const char* op, cudaStream_t stream, const SortedRows<T>& rows, float* dtable) {
  const std::int64_t num_windows = simt::ceil_div<std::int64_t>(rows.num_tokens, window_size);
  const std::int64_t num_column_blocks = simt::ceil_div<std::int64_t>(rows.d, simt::warp_size * width);
  const unsigned blocks = simt::num_blocks(op, num_windows * num_column_blocks);
  simt::launch(op, stream, add_runs_kernel<T, width>, blocks, block_size, 0, rows, static_cast<int>(num_column_blocks),
               dtable);
}

}  // namespace

void CudaBackend::embedding(In table, In ids, Out y) {
  check_embedding(table, ids, y);
  gather_rows(table, ids, y);
}

void CudaBackend::embedding_backward(In ids, In dy, InOut dtable) {
  const char* const op = "embedding_backward";
  check_embedding_backward(ids, dy, dtable);
  if (dy.numel() == 0) return;
  const std::int64_t num_tokens = ids.size(0);
  constexpr std::int64_t most_tokens = std::numeric_limits<std::int32_t>::max();
  if (num_tokens > most_tokens) {
    fail(op, "required at most " + std::to_string(most_tokens) + " tokens, found " + std::to_string(num_tokens));
  }

  const std::int64_t num_tiles = simt::ceil_div<std::int64_t>(num_tokens, tile_size);
  const int id_bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(dtable.size(0) - 1)));
  std::int32_t* const counts = scratch_of<std::int32_t>(0, num_tiles * num_digits);
  const std::int32_t* unsorted_ids = cuda::device_data<std::int32_t>(ids);
  const std::int32_t* unsorted_tokens = nullptr;
  std::int32_t* sorted_ids = nullptr;
  std::int32_t* sorted_tokens = nullptr;
  for (int shift = 0; shift == 0 || shift < id_bits; shift += digit_bits) {
    sorted_ids = scratch_of<std::int32_t>(1 + shift / digit_bits % 2, 2 * num_tokens);
    sorted_tokens = sorted_ids + num_tokens;
    const unsigned tiles = simt::num_blocks(op, num_tiles);
    simt::launch(op, stream_, count_digits_kernel, tiles, simt::warp_size, 0, unsorted_ids, num_tokens, shift, counts);
    simt::launch(op, stream_, begin_digits_kernel, 1, num_digits, 0, counts, num_tiles);
    simt::launch(op, stream_, place_tokens_kernel, tiles, simt::warp_size, 0, unsorted_ids, unsorted_tokens, num_tokens,
                 shift, counts, sorted_ids, sorted_tokens);
    unsorted_ids = sorted_ids;
    unsorted_tokens = sorted_tokens;
  }

  cuda::with_act(dy.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t d = dy.size(1);
    const SortedRows<T> rows{sorted_ids, sorted_tokens, num_tokens, cuda::device_data<T>(dy), d};
    float* const to = cuda::device_data<float>(dtable);
    constexpr int width = 4;
    if (simt::packs<T, width>(rows.dy, d, d) && simt::packs<float, width>(to, d, d)) {
      add_runs<T, width>(op, stream_, rows, to);
    } else {
      add_runs<T, 1>(op, stream_, rows, to);
    }
  });
}

}  // namespace artel
