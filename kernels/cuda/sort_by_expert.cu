#include <algorithm>
#include <cstdint>

#include "kernels/checks/permutation.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"
#include "kernels/cuda/top_k.cuh"

// A counting sort. Slots are cut into tiles, each of which one warp goes through in order, twice: to count, and, once
// it is known where the rows of each expert in each tile begin, to place. So the order within an expert is that of the
// slots, whatever the order in which warps run.

namespace artel {
namespace {

using cuda::lane_of_warp;

constexpr int scan_block = 1024;
constexpr std::int64_t least_tile = 256;

struct Tiles {
  std::int64_t num_slots;
  std::int64_t num_tiles;
  std::int64_t tile_size;  ///< slots of a tile
  int num_experts;
};

/// The tile of this warp and the counters that belong to it, [N] in shared memory.
struct TileOfWarp {
  std::int64_t tile;
  std::int64_t begin;
  std::int64_t end;
  int* counters;

  __device__ TileOfWarp(const Tiles& tiles, unsigned char* shared_memory) {
    const int warps = static_cast<int>(blockDim.x) / simt::warp_size;
    const int warp = static_cast<int>(threadIdx.x) / simt::warp_size;
    tile = static_cast<std::int64_t>(blockIdx.x) * warps + warp;
    begin = tile * tiles.tile_size;
    end = min(tiles.num_slots, begin + tiles.tile_size);
    counters = reinterpret_cast<int*>(shared_memory) + static_cast<std::int64_t>(warp) * tiles.num_experts;
  }
};

/// counts [num_tiles, N] = slots of each expert in each tile.
__global__ void __launch_bounds__(cuda::largest_block_of_warps)
    count_tiles_kernel(const int* ids, const Tiles tiles, int* counts) {
  SIMT_DYNAMIC_SHARED(shared_memory);
  const TileOfWarp of_warp(tiles, shared_memory);
  if (of_warp.tile >= tiles.num_tiles) return;
  for (int i = lane_of_warp(); i < tiles.num_experts; i += simt::warp_size) of_warp.counters[i] = 0;
  __syncwarp();
#pragma unroll 4
  for (std::int64_t slot = of_warp.begin + lane_of_warp(); slot < of_warp.end; slot += simt::warp_size) {
    atomicAdd(&of_warp.counters[ids[slot]], 1);
  }
  __syncwarp();
  int* const to = counts + of_warp.tile * tiles.num_experts;
  for (int i = lane_of_warp(); i < tiles.num_experts; i += simt::warp_size) to[i] = of_warp.counters[i];
}

/// counts [num_tiles, N] become those of all tiles before; totals [N] = of all tiles. A block for 32 experts; each of
/// its warps has some tiles.
__global__ void __launch_bounds__(scan_block) scan_tiles_kernel(const Tiles tiles, int* counts, int* totals) {
  SIMT_SHARED(int, of_warps, [simt::warp_size][simt::warp_size]);
  const int num_warps = static_cast<int>(blockDim.x) / simt::warp_size;
  const int warp = static_cast<int>(threadIdx.x) / simt::warp_size;
  const int expert = static_cast<int>(blockIdx.x) * simt::warp_size + lane_of_warp();
  const bool is_expert = expert < tiles.num_experts;
  const std::int64_t per_warp = simt::ceil_div(tiles.num_tiles, static_cast<std::int64_t>(num_warps));
  const std::int64_t begin = min(tiles.num_tiles, warp * per_warp);
  const std::int64_t end = is_expert ? min(tiles.num_tiles, begin + per_warp) : begin;
  int* const of_expert = counts + expert;
  int sum = 0;
#pragma unroll 8
  for (std::int64_t tile = begin; tile < end; ++tile) sum += of_expert[tile * tiles.num_experts];
  of_warps[warp][lane_of_warp()] = sum;
  __syncthreads();
  int before = 0;
  for (int i = 0; i < warp; ++i) before += of_warps[i][lane_of_warp()];
#pragma unroll 8
  for (std::int64_t tile = begin; tile < end; ++tile) {
    const int count = of_expert[tile * tiles.num_experts];
    of_expert[tile * tiles.num_experts] = before;
    before += count;
  }
  if (is_expert && warp == num_warps - 1) totals[expert] = before;
}

/// Sum over this lane and those before it.
__device__ int inclusive_scan(int x) {
  for (int distance = 1; distance < simt::warp_size; distance *= 2) {
    const int other = __shfl_up_sync(simt::full_mask, x, static_cast<unsigned>(distance));
    if (lane_of_warp() >= distance) x += other;
  }
  return x;
}

/// offsets [N + 1] = sums of totals [N] before each expert. One block.
__global__ void __launch_bounds__(scan_block) scan_experts_kernel(const int* totals, int num_experts, int* offsets) {
  SIMT_SHARED(int, of_warps, [simt::warp_size]);
  const int num_warps = static_cast<int>(blockDim.x) / simt::warp_size;
  const int warp = static_cast<int>(threadIdx.x) / simt::warp_size;
  int before = 0;
  if (threadIdx.x == 0) offsets[0] = 0;
  for (int first = 0; first < num_experts; first += static_cast<int>(blockDim.x)) {
    const int expert = first + static_cast<int>(threadIdx.x);
    const int sum = inclusive_scan(expert < num_experts ? totals[expert] : 0);
    if (lane_of_warp() == simt::warp_size - 1) of_warps[warp] = sum;
    __syncthreads();
    const int of_all = inclusive_scan(lane_of_warp() < num_warps ? of_warps[lane_of_warp()] : 0);
    const int of_warps_before = __shfl_sync(simt::full_mask, of_all, max(0, warp - 1));
    if (expert < num_experts) offsets[expert + 1] = before + sum + (warp > 0 ? of_warps_before : 0);
    before += __shfl_sync(simt::full_mask, of_all, simt::warp_size - 1);
    __syncthreads();
  }
}

/// slot_of_row [A], row_of_slot [A] =. counts [num_tiles, N]: slots of each expert in the tiles before.
__global__ void __launch_bounds__(cuda::largest_block_of_warps)
    place_kernel(const int* ids, const Tiles tiles, const int* counts, const int* offsets, int* slot_of_row,
                 int* row_of_slot) {
  SIMT_DYNAMIC_SHARED(shared_memory);
  const TileOfWarp of_warp(tiles, shared_memory);
  if (of_warp.tile >= tiles.num_tiles) return;
  const int lane = lane_of_warp();
  int* const next_rows = of_warp.counters;
  for (int i = lane; i < tiles.num_experts; i += simt::warp_size) {
    next_rows[i] = offsets[i] + counts[of_warp.tile * tiles.num_experts + i];
  }
  __syncwarp();
  for (std::int64_t first = of_warp.begin; first < of_warp.end; first += simt::warp_size) {
    const std::int64_t slot = first + lane;
    const int expert = slot < of_warp.end ? ids[slot] : -1;
    const unsigned same = __match_any_sync(simt::full_mask, expert);
    const int row = expert >= 0 ? next_rows[expert] + __popc(same & ((1U << lane) - 1)) : 0;
    __syncwarp();
    if (expert >= 0) {
      if (same >> lane == 1U) next_rows[expert] = row + 1;  // the last of those of this expert
      slot_of_row[row] = static_cast<int>(slot);
      row_of_slot[slot] = row;
    }
    __syncwarp();
  }
}

/// A block of whole warps that has at least `threads` threads, or as many as it can.
unsigned block_for(std::int64_t threads) {
  const std::int64_t warps = simt::ceil_div(threads, std::int64_t{simt::warp_size});
  return static_cast<unsigned>(std::clamp<std::int64_t>(warps * simt::warp_size, simt::warp_size, scan_block));
}

}  // namespace

void CudaBackend::sort_by_expert(In ids, std::int64_t num_experts, Out offsets, Out slot_of_row, Out row_of_slot) {
  const char* const op = "sort_by_expert";
  check_sort_by_expert(ids, num_experts, offsets, slot_of_row, row_of_slot);
  // Tiles are no smaller than the number of experts, so that counts take no more memory than ids.
  const std::int64_t tile_size = simt::ceil_div(std::max(least_tile, num_experts), std::int64_t{32}) * 32;
  const std::int64_t num_slots = ids.size(0);
  const Tiles tiles{num_slots, simt::ceil_div(num_slots, tile_size), tile_size, static_cast<int>(num_experts)};
  int* const counts = scratch_of<std::int32_t>(0, std::max<std::int64_t>(1, tiles.num_tiles * num_experts));
  int* const totals = scratch_of<std::int32_t>(1, std::max<std::int64_t>(1, num_experts));
  const std::int64_t warp_bytes = 4 * num_experts;
  const int warps = cuda::warps_per_block(op, warp_bytes);
  const unsigned blocks = simt::num_blocks(op, simt::ceil_div<std::int64_t>(tiles.num_tiles, warps));
  const auto block = static_cast<unsigned>(warps * simt::warp_size);
  const auto shared_bytes = static_cast<std::size_t>(warps * warp_bytes);
  simt::launch(op, stream_, count_tiles_kernel, blocks, block, shared_bytes, ids.data<std::int32_t>(), tiles, counts);
  simt::launch(op, stream_, scan_tiles_kernel,
               simt::num_blocks(op, simt::ceil_div<std::int64_t>(num_experts, simt::warp_size)),
               block_for(tiles.num_tiles / 4 * simt::warp_size), 0, tiles, counts, totals);
  simt::launch(op, stream_, scan_experts_kernel, 1, block_for(num_experts), 0, totals, static_cast<int>(num_experts),
               offsets.data<std::int32_t>());
  simt::launch(op, stream_, place_kernel, blocks, block, shared_bytes, ids.data<std::int32_t>(), tiles, counts,
               offsets.data<std::int32_t>(), slot_of_row.data<std::int32_t>(), row_of_slot.data<std::int32_t>());
}

}  // namespace artel
