#include <algorithm>
#include <cstdint>
#include <string>

#include "kernels/checks/routing.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"
#include "kernels/cuda/top_k.cuh"

// Sums over tokens are taken in two steps: fixed chunks of tokens, each by one block, then the chunks in ascending
// order.

namespace artel {
namespace {

using cuda::lane_of_warp;

constexpr int counts_block = 256;
constexpr int balance_block = 128;
constexpr int statistics_block = 256;
constexpr int statistics_warps = statistics_block / simt::warp_size;
constexpr std::int64_t tokens_per_statistics_block = 64;

__device__ int warp_of_block() {
  return static_cast<int>(threadIdx.x) / simt::warp_size;
}

/// Adds to counts [M, N]. `slices` blocks share the slots of a set.
__global__ void __launch_bounds__(counts_block)
    expert_counts_kernel(const int* ids, const int* token_offsets, std::int64_t num_tokens, std::int64_t tokens_per_set,
                         int num_experts, int slices, int* counts) {
  SIMT_DYNAMIC_SHARED(shared_memory);
  auto* const of_block = reinterpret_cast<int*>(shared_memory);  // [N]
  const std::int64_t set = blockIdx.x / static_cast<unsigned>(slices);
  const std::int64_t slice = blockIdx.x % static_cast<unsigned>(slices);
  const std::int64_t first_token = min(num_tokens, set * tokens_per_set);
  const std::int64_t first = token_offsets[first_token];
  const std::int64_t num_slots = token_offsets[first_token + min(tokens_per_set, num_tokens - first_token)] - first;
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < num_experts; i += counts_block) of_block[i] = 0;
  __syncthreads();
  const std::int64_t end = num_slots * (slice + 1) / slices;
  for (std::int64_t slot = num_slots * slice / slices + thread; slot < end; slot += counts_block) {
    atomicAdd(&of_block[ids[first + slot]], 1);
  }
  __syncthreads();
  for (int i = thread; i < num_experts; i += counts_block) {
    if (of_block[i] != 0) atomicAdd(&counts[set * num_experts + i], of_block[i]);
  }
}

/// A block works on a set.
__global__ void __launch_bounds__(balance_block)
    load_balance_kernel(const int* counts, float scale, std::int64_t num_experts, float* balance) {
  SIMT_SHARED(double, partials, [simt::warp_size]);
  const int* const of_set = counts + blockIdx.x * num_experts;
  double sum = 0.0;
  for (std::int64_t i = threadIdx.x; i < num_experts; i += balance_block) sum += of_set[i];
  const auto total = static_cast<float>(simt::block_sum(sum, partials));  // of integers below 2^53: exact
  for (std::int64_t i = threadIdx.x; i < num_experts; i += balance_block) {
    balance[blockIdx.x * num_experts + i] = total > 0.0F ? scale * static_cast<float>(of_set[i]) / total : 0.0F;
  }
}

/// How rows of x [T, N] are summed: each set in chunks, each chunk by a block for 32 columns, whose warps take part of
/// its rows each.
struct SetChunks {
  static constexpr int num_warps = 8;
  static constexpr int block = num_warps * simt::warp_size;
  static constexpr int rows_per_warp = 32;
  static constexpr std::int64_t rows = num_warps * rows_per_warp;

  std::int64_t num_tokens;
  std::int64_t tokens_per_set;
  std::int64_t num_columns;
  std::int64_t per_set;  ///< chunks of a set

  __host__ __device__ std::int64_t column_blocks() const {
    return simt::ceil_div(num_columns, std::int64_t{simt::warp_size});
  }
};

/// sums [M, chunks.per_set, N] = of each chunk.
__global__ void __launch_bounds__(SetChunks::block)
    chunk_sums_kernel(const float* x, const SetChunks chunks, float* sums) {
  SIMT_SHARED(float, of_warps, [SetChunks::num_warps][simt::warp_size]);
  const std::int64_t chunk = blockIdx.x / chunks.column_blocks();
  const std::int64_t column = blockIdx.x % chunks.column_blocks() * simt::warp_size + lane_of_warp();
  const std::int64_t set = chunk / chunks.per_set;
  const std::int64_t first_of_set = min(chunks.num_tokens, set * chunks.tokens_per_set);
  const std::int64_t end_of_set = first_of_set + min(chunks.tokens_per_set, chunks.num_tokens - first_of_set);
  const std::int64_t first = first_of_set + chunk % chunks.per_set * SetChunks::rows +
                             static_cast<std::int64_t>(warp_of_block()) * SetChunks::rows_per_warp;
  const std::int64_t end = min(end_of_set, first + SetChunks::rows_per_warp);
  float sum = 0.0F;
  if (column < chunks.num_columns) {
#pragma unroll 8
    for (std::int64_t row = first; row < end; ++row) sum += x[row * chunks.num_columns + column];
  }
  of_warps[warp_of_block()][lane_of_warp()] = sum;
  __syncthreads();
  if (warp_of_block() != 0 || column >= chunks.num_columns) return;
  for (int warp = 1; warp < SetChunks::num_warps; ++warp) sum += of_warps[warp][lane_of_warp()];
  sums[chunk * chunks.num_columns + column] = sum;
}

/// sums [M, N] = sums of the chunks of each set.
__global__ void __launch_bounds__(SetChunks::block)
    set_sums_kernel(const float* chunk_sums, const SetChunks chunks, std::int64_t num_sums, float* sums) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * SetChunks::block + threadIdx.x;
  if (i >= num_sums) return;
  const float* const of_column =
      chunk_sums + i / chunks.num_columns * chunks.per_set * chunks.num_columns + i % chunks.num_columns;
  float sum = 0.0F;
#pragma unroll 8
  for (std::int64_t chunk = 0; chunk < chunks.per_set; ++chunk) sum += of_column[chunk * chunks.num_columns];
  sums[i] = sum;
}

/// The least probability chosen less the largest not chosen, 0 where either is missing. row: shared memory of N.
__device__ float margin(const float* probs, const int* ids, int num_slots, int num_experts, float* row) {
  const int lane = lane_of_warp();
  for (int i = lane; i < num_experts; i += simt::warp_size) row[i] = probs[i];
  __syncwarp();
  float least = INFINITY;
  for (int slot = lane; slot < num_slots; slot += simt::warp_size) {
    least = fminf(least, row[ids[slot]]);
    row[ids[slot]] = 0.0F;
  }
  __syncwarp();
  float largest = 0.0F;
  for (int i = lane; i < num_experts; i += simt::warp_size) largest = fmaxf(largest, row[i]);
  least = -simt::warp_max(-least);
  largest = simt::warp_max(largest);
  return num_slots == 0 || num_slots == num_experts ? 0.0F : least - largest;
}

__device__ float entropy(const float* probs, int num_experts) {
  constexpr float least = 1.17549435e-38F;  // below it p log p is nothing, and log(0) is not a number
  float sum = 0.0F;
  for (int i = lane_of_warp(); i < num_experts; i += simt::warp_size) sum += probs[i] * logf(fmaxf(probs[i], least));
  return -simt::warp_sum(sum);
}

/// partials [blocks, 2] = sums of the entropies and of the margins of the tokens of each block.
__global__ void __launch_bounds__(statistics_block)
    statistics_kernel(const float* probs, const int* ids, const int* token_offsets, std::int64_t num_tokens,
                      int num_experts, double* partials) {
  SIMT_DYNAMIC_SHARED(shared_memory);
  SIMT_SHARED(double, of_warps, [statistics_warps][2]);
  const int warp = warp_of_block();
  const int num_warps = static_cast<int>(blockDim.x) / simt::warp_size;
  float* const row = reinterpret_cast<float*>(shared_memory) + static_cast<std::int64_t>(warp) * num_experts;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * tokens_per_statistics_block;
  const std::int64_t end = min(num_tokens, first + tokens_per_statistics_block);
  double entropies = 0.0;
  double margins = 0.0;
  for (std::int64_t token = first + warp; token < end; token += num_warps) {
    const float* const p = probs + token * num_experts;
    const int slot = token_offsets[token];
    entropies += static_cast<double>(entropy(p, num_experts));
    margins += static_cast<double>(margin(p, ids + slot, token_offsets[token + 1] - slot, num_experts, row));
  }
  if (lane_of_warp() == 0) {
    of_warps[warp][0] = entropies;
    of_warps[warp][1] = margins;
  }
  __syncthreads();
  if (threadIdx.x >= 2) return;
  double sum = 0.0;
  for (int i = 0; i < num_warps; ++i) sum += of_warps[i][threadIdx.x];
  partials[blockIdx.x * std::int64_t{2} + threadIdx.x] = sum;
}

/// sums [2] = sums of partials [num_partials, 2].
__global__ void __launch_bounds__(balance_block)
    statistics_sums_kernel(const double* partials, std::int64_t num_partials, double* sums) {
  SIMT_SHARED(double, of_warps, [simt::warp_size]);
  double entropies = 0.0;
  double margins = 0.0;
  for (std::int64_t i = threadIdx.x; i < num_partials; i += balance_block) {
    entropies += partials[2 * i];
    margins += partials[2 * i + 1];
  }
  entropies = simt::block_sum(entropies, of_warps);
  margins = simt::block_sum(margins, of_warps);
  if (threadIdx.x != 0) return;
  sums[0] = entropies;
  sums[1] = margins;
}

}  // namespace

void CudaBackend::expert_counts(In ids, In token_offsets, std::int64_t tokens_per_set, Out counts) {
  const char* const op = "expert_counts";
  constexpr std::int64_t slots_per_block = 4096;
  check_expert_counts(ids, token_offsets, tokens_per_set, counts);
  if (counts.numel() == 0) return;
  cuda::check(op, "cudaMemsetAsync", cudaMemsetAsync(counts.raw(), 0, counts.nbytes(), stream_));
  if (ids.numel() == 0) return;
  const std::int64_t num_sets = counts.size(0);
  const std::int64_t num_experts = counts.size(1);
  const std::int64_t slices = simt::ceil_div(simt::ceil_div(ids.numel(), num_sets), slots_per_block);
  cuda::warps_per_block(op, 4 * num_experts);
  simt::launch(op, stream_, expert_counts_kernel, simt::num_blocks(op, num_sets * slices), counts_block,
               4 * static_cast<std::size_t>(num_experts), ids.data<std::int32_t>(), token_offsets.data<std::int32_t>(),
               token_offsets.size(0) - 1, tokens_per_set, static_cast<int>(num_experts), static_cast<int>(slices),
               counts.data<std::int32_t>());
}

void CudaBackend::load_balance(In counts, float scale, Out balance) {
  check_load_balance(counts, balance);
  if (counts.numel() == 0) return;
  simt::launch("load_balance", stream_, load_balance_kernel, simt::num_blocks("load_balance", counts.size(0)),
               balance_block, 0, counts.data<std::int32_t>(), scale, counts.size(1), balance.data<float>());
}

void CudaBackend::set_sums(In x, std::int64_t tokens_per_set, Out sums) {
  const char* const op = "set_sums";
  check_set_sums(x, tokens_per_set, sums);
  if (sums.numel() == 0) return;
  const std::int64_t rows_of_set = std::min(tokens_per_set, x.size(0));
  const SetChunks chunks{x.size(0), tokens_per_set, x.size(1),
                         std::max<std::int64_t>(1, simt::ceil_div(rows_of_set, SetChunks::rows))};
  float* const of_chunks =
      chunks.per_set == 1 ? sums.data<float>() : scratch_of<float>(0, sums.numel() * chunks.per_set);
  simt::launch(op, stream_, chunk_sums_kernel,
               simt::num_blocks(op, sums.size(0) * chunks.per_set * chunks.column_blocks()), SetChunks::block, 0,
               x.data<float>(), chunks, of_chunks);
  if (chunks.per_set == 1) return;
  simt::launch(op, stream_, set_sums_kernel,
               simt::num_blocks(op, simt::ceil_div<std::int64_t>(sums.numel(), SetChunks::block)), SetChunks::block, 0,
               of_chunks, chunks, sums.numel(), sums.data<float>());
}

void CudaBackend::routing_statistics(In probs, In ids, In token_offsets, Out sums) {
  const char* const op = "routing_statistics";
  check_routing_statistics(probs, ids, token_offsets, sums);
  const std::int64_t num_tokens = probs.size(0);
  const std::int64_t num_experts = probs.size(1);
  const std::int64_t blocks = simt::ceil_div(num_tokens, tokens_per_statistics_block);
  const int warps = cuda::warps_per_block(op, 4 * num_experts);
  double* const partials = scratch_of<double>(0, std::max<std::int64_t>(1, 2 * blocks));
  simt::launch(op, stream_, statistics_kernel, simt::num_blocks(op, blocks),
               static_cast<unsigned>(warps * simt::warp_size),
               4 * static_cast<std::size_t>(warps) * static_cast<std::size_t>(num_experts), probs.data<float>(),
               ids.data<std::int32_t>(), token_offsets.data<std::int32_t>(), num_tokens, static_cast<int>(num_experts),
               partials);
  simt::launch(op, stream_, statistics_sums_kernel, 1, balance_block, 0, partials, blocks, sums.data<double>());
}

}  // namespace artel
