// dw [G, out, in] f32 = or += dy^T · x over the rows of every group. cuBLAS has no call for groups of bf16 with sums of
// f32, so these have a kernel: a block computes a tile of dw for one group over one split of its rows, 32 rows at a
// time on tensor cores; rows are in ascending order. Splits of few large tiles keep more of a GPU busy: the first goes
// to dw, the others to partial sums that are added in ascending order. How rows are split depends on the sizes alone.

#include <mma.h>

#include <algorithm>
#include <string>

#include "kernels/checks/checks.h"
#include "kernels/checks/linear.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/simt.h"
#include "util/error.h"

namespace artel {
namespace {

namespace wmma = nvcuda::wmma;
using Bf16 = __nv_bfloat16;
using Pack = simt::RawPack<Bf16, 8>;

constexpr int block_size = 256;
constexpr int tile = 128;              // of out and of in
constexpr int depth = 32;              // rows of x and dy at a time
constexpr int tile_stride = tile + 8;  // spreads the rows of a tile over the banks of shared memory
constexpr int warp_out = 64;           // a warp's part of the tile: 2 x 4 warps
constexpr int warp_in = 32;
constexpr int frag = 16;
constexpr int frags_out = warp_out / frag;
constexpr int frags_in = warp_in / frag;
constexpr int staging_stride = warp_in + 4;
constexpr int packs_per_row = tile / 8;
constexpr int packs_per_thread = depth * packs_per_row / block_size;

struct alignas(128) Stage {
  Bf16 dy[depth * tile_stride];
  Bf16 x[depth * tile_stride];
};
static_assert(2 * sizeof(Stage) <= 48 * 1024);
static_assert(2 * sizeof(Stage) >= (block_size / 32) * frag * staging_stride * sizeof(float));

using cuda::Bf16Rows;

struct Problem {
  Bf16Rows x;
  Bf16Rows dy;
  const std::int32_t* offsets;  ///< [G+1]
  std::int64_t rows_per_split;
  std::int64_t num_groups;
  float* dw;
  float* partials;  ///< [splits - 1, G, out, in]
  bool accumulate;
};

struct Range {
  std::int64_t begin;
  std::int64_t end;
};

__device__ Range range_of(const Problem& p, std::int64_t group) {
  return {p.offsets[group], p.offsets[group + 1]};
}

// Rows row .. row + depth - 1 of a matrix, columns column .. column + tile - 1, this thread's packs of them; zeros
// outside.
template <bool packed>
__device__ void load(const Bf16Rows& matrix, std::int64_t row, std::int64_t end, int column,
                     Pack (&packs)[packs_per_thread]) {
  const int first_column = column + static_cast<int>(threadIdx.x) % packs_per_row * 8;
  for (int i = 0; i < packs_per_thread; ++i) {
    const std::int64_t r = row + static_cast<int>(threadIdx.x) / packs_per_row + i * (block_size / packs_per_row);
    const Bf16* const from = matrix.data + r * matrix.stride + first_column;
    if constexpr (packed) {
      packs[i] = r < end && first_column < matrix.width ? *reinterpret_cast<const Pack*>(from) : Pack{};
    } else {
      simt::Pack<Bf16, 8> pack;
      for (int j = 0; j < 8; ++j) {
        pack.values[j] = r < end && first_column + j < matrix.width ? from[j] : __float2bfloat16(0.0F);
      }
      memcpy(packs[i].words, &pack, sizeof pack);
    }
  }
}

__device__ void store(const Pack (&packs)[packs_per_thread], Bf16* shared) {
  const int column = static_cast<int>(threadIdx.x) % packs_per_row * 8;
  for (int i = 0; i < packs_per_thread; ++i) {
    const int row = static_cast<int>(threadIdx.x) / packs_per_row + i * (block_size / packs_per_row);
    *reinterpret_cast<Pack*>(shared + row * tile_stride + column) = packs[i];
  }
}

template <bool packed>
__global__ void __launch_bounds__(block_size, 2) weight_gradient_kernel(Problem p) {
  SIMT_SHARED(Stage, stages, [2]);
  const int tiles_in = simt::ceil_div(p.x.width, tile);
  const std::int64_t tiles = std::int64_t{simt::ceil_div(p.dy.width, tile)} * tiles_in;
  const std::int64_t group = blockIdx.x / tiles;
  const int tile_index = static_cast<int>(blockIdx.x % tiles);
  const int out = tile_index / tiles_in * tile;
  const int in = tile_index % tiles_in * tile;
  const int split = static_cast<int>(blockIdx.y);

  const Range rows = range_of(p, group);
  const std::int64_t begin = rows.begin + split * p.rows_per_split;
  const std::int64_t end = rows.end - begin < p.rows_per_split ? rows.end : begin + p.rows_per_split;
  if (begin >= end && (split > 0 || p.accumulate)) return;  // the whole block

  // How many fragments of this warp's part lie within dw.
  const int warp = static_cast<int>(threadIdx.x) / simt::warp_size;
  const int lane = static_cast<int>(threadIdx.x) % simt::warp_size;
  const int warp_row = warp / 4 * warp_out;
  const int warp_column = warp % 4 * warp_in;
  const int num_out = min(frags_out, simt::ceil_div(max(0, p.dy.width - out - warp_row), frag));
  const int num_in = min(frags_in, simt::ceil_div(max(0, p.x.width - in - warp_column), frag));

  wmma::fragment<wmma::accumulator, frag, frag, frag, float> sums[frags_out][frags_in];
  for (auto& row : sums) {
    for (auto& sum : row) wmma::fill_fragment(sum, 0.0F);
  }
  Pack next_dy[packs_per_thread];
  Pack next_x[packs_per_thread];
  load<packed>(p.dy, begin, end, out, next_dy);
  load<packed>(p.x, begin, end, in, next_x);
  int current = 0;
  for (std::int64_t row = begin; row < end; row += depth, current ^= 1) {
    Stage& stage = stages[current];
    store(next_dy, stage.dy);
    store(next_x, stage.x);
    __syncthreads();  // the other stage is free again too: all threads have finished the round before
    if (row + depth < end) {
      load<packed>(p.dy, row + depth, end, out, next_dy);
      load<packed>(p.x, row + depth, end, in, next_x);
    }
    if (num_out == 0 || num_in == 0) continue;
#pragma unroll
    for (int k = 0; k < depth; k += frag) {
      wmma::fragment<wmma::matrix_b, frag, frag, frag, Bf16, wmma::row_major> b[frags_in];
#pragma unroll
      for (int j = 0; j < frags_in; ++j) {
        wmma::load_matrix_sync(b[j], stage.x + k * tile_stride + warp_column + j * frag, tile_stride);
      }
#pragma unroll
      for (int i = 0; i < frags_out; ++i) {
        if (i >= num_out) break;
        wmma::fragment<wmma::matrix_a, frag, frag, frag, Bf16, wmma::col_major> a;
        wmma::load_matrix_sync(a, stage.dy + k * tile_stride + warp_row + i * frag, tile_stride);
#pragma unroll
        for (int j = 0; j < frags_in; ++j) {
          if (j < num_in) wmma::mma_sync(sums[i][j], a, b[j], sums[i][j]);
        }
      }
    }
  }

  __syncthreads();  // the stages are done with: every warp takes a piece of them to bring its sums into rows
  float* const staging = reinterpret_cast<float*>(stages) + warp * frag * staging_stride;
  const std::int64_t size = std::int64_t{p.dy.width} * p.x.width;
  const bool first = split == 0;
  float* const target = first ? p.dw + group * size : p.partials + ((split - 1) * p.num_groups + group) * size;
  const int column = in + warp_column + lane;
#pragma unroll
  for (int i = 0; i < frags_out; ++i) {
#pragma unroll
    for (int j = 0; j < frags_in; ++j) {
      wmma::store_matrix_sync(staging + j * frag, sums[i][j], staging_stride, wmma::mem_row_major);
    }
    __syncwarp();
    for (int r = 0; r < frag; ++r) {
      const int row = out + warp_row + i * frag + r;
      if (row >= p.dy.width || column >= p.x.width) break;
      float& element = target[std::int64_t{row} * p.x.width + column];
      const float sum = staging[r * staging_stride + lane];
      element = first && p.accumulate ? element + sum : sum;
    }
    __syncwarp();
  }
}

__global__ void __launch_bounds__(block_size) add_partials_kernel(Problem p) {
  const std::int64_t size = std::int64_t{p.dy.width} * p.x.width;
  const std::int64_t index = std::int64_t{blockIdx.x} * block_size + threadIdx.x;
  if (index >= size * p.num_groups) return;
  const Range rows = range_of(p, index / size);
  const std::int64_t num_splits = simt::ceil_div(rows.end - rows.begin, p.rows_per_split);
  if (num_splits < 2) return;
  float sum = p.dw[index];
  for (std::int64_t split = 1; split < num_splits; ++split)
    sum += p.partials[(split - 1) * size * p.num_groups + index];
  p.dw[index] = sum;
}

struct Splits {
  std::int64_t rows;
  std::int64_t num;
};

// Enough blocks to keep a large GPU busy, and no split so short that its sums cost more to store than to make.
Splits split_rows_of(std::int64_t num_tiles, std::int64_t most_rows) {
  constexpr std::int64_t enough_blocks = 256;
  constexpr std::int64_t least_rows = 512;
  const std::int64_t wanted = std::max<std::int64_t>(1, enough_blocks / std::max<std::int64_t>(1, num_tiles));
  const std::int64_t even = simt::ceil_div(simt::ceil_div(most_rows, wanted), std::int64_t{depth}) * depth;
  const std::int64_t rows = std::max(least_rows, even);
  return {rows, std::max<std::int64_t>(1, simt::ceil_div(most_rows, rows))};
}

Bf16Rows rows_of(const char* op, const void* data, std::int64_t stride, std::int64_t width) {
  constexpr std::int64_t most = 1 << 30;
  if (width > most) fail(op, "required rows of at most 2^30 elements, found " + std::to_string(width));
  return {static_cast<const Bf16*>(data), stride, static_cast<int>(width)};
}

constexpr int parts_slot = 0;
constexpr int partials_slot = 1;

}  // namespace

void CudaBackend::multiply_weights(const char* op, const Bf16Rows& x, const Bf16Rows& dy, Out dw,
                                   std::span<const std::int32_t> offsets, In device_offsets, Accumulate accumulate) {
  const std::int64_t num_groups = static_cast<std::int64_t>(offsets.size()) - 1;
  const std::int64_t num_tiles = num_groups * simt::ceil_div(x.width, tile) * simt::ceil_div(dy.width, tile);
  std::int64_t most_rows = 0;
  for (std::size_t g = 0; g + 1 < offsets.size(); ++g) {
    most_rows = std::max<std::int64_t>(most_rows, offsets[g + 1] - offsets[g]);
  }
  const Splits splits = split_rows_of(num_tiles, most_rows);
  Problem p{};
  p.x = x;
  p.dy = dy;
  p.offsets = cuda::device_data<std::int32_t>(device_offsets);
  p.rows_per_split = splits.rows;
  p.num_groups = num_groups;
  p.dw = cuda::device_data<float>(dw);
  p.accumulate = accumulate == Accumulate::yes;
  if (splits.num > 1) p.partials = scratch_of<float>(partials_slot, (splits.num - 1) * dw.numel());
  const bool packed = simt::packs(p.x.data, p.x.width, p.x.stride) && simt::packs(p.dy.data, p.dy.width, p.dy.stride);
  const dim3 grid(simt::num_blocks(op, num_tiles), static_cast<unsigned>(splits.num));
  simt::launch(op, stream_, packed ? weight_gradient_kernel<true> : weight_gradient_kernel<false>, grid, block_size, 0,
               p);
  if (splits.num == 1) return;
  simt::launch(op, stream_, add_partials_kernel,
               dim3(simt::num_blocks(op, simt::ceil_div<std::int64_t>(dw.numel(), block_size))), block_size, 0, p);
}

void CudaBackend::multiply_weights_singly(const char* op, In x, const void* dy, std::int64_t dy_stride, Out dw,
                                          std::span<const std::int32_t> offsets, Accumulate accumulate) {
  const cuda::GemmMachine machine{cublas(), stream_};
  const std::int64_t out = dw.size(dw.shape().rank() - 2);
  const std::int64_t in = dw.size(dw.shape().rank() - 1);
  const auto element = static_cast<std::int64_t>(dtype_size(x.dtype()));
  for (std::size_t g = 0; g + 1 < offsets.size(); ++g) {
    const std::int64_t begin = offsets[g];
    cuda::multiply(op, machine,
                   {.a = static_cast<const char*>(dy) + begin * dy_stride * element,
                    .b = static_cast<const char*>(x.raw()) + begin * x.row_stride() * element,
                    .c = dw.data<float>() + static_cast<std::int64_t>(g) * out * in,
                    .m = out,
                    .n = in,
                    .k = offsets[g + 1] - begin,
                    .lda = dy_stride,
                    .ldb = x.row_stride(),
                    .ldc = in,
                    .transpose_a = true,
                    .in = x.dtype(),
                    .out = DType::f32,
                    .accumulate = accumulate == Accumulate::yes});
  }
}

void CudaBackend::backward_weight(const char* op, In x, In dy, Out dw, std::span<const std::int32_t> offsets,
                                  In device_offsets, Accumulate accumulate) {
  const bool grouped = device_offsets.defined();
  const ProductSizes s = check_linear_backward_weight(op, x, dy, dw, grouped);
  if (dw.numel() == 0) return;
  const bool split = x.dtype() != dy.dtype();
  const void* first = dy.raw();
  std::int64_t stride = dy.row_stride();
  if (split) {
    auto* const parts = scratch_of<Bf16>(parts_slot, 3 * dy.numel());
    cuda::split_rows(op, stream_, dy, parts);
    first = parts;
    stride = 3 * s.out;
  }
  for (std::int64_t part = 0; part < (split ? 3 : 1); ++part) {
    const void* const dy_part = static_cast<const Bf16*>(first) + part * s.out;
    const Accumulate how = part == 0 ? accumulate : Accumulate::yes;
    if (grouped && x.dtype() == DType::bf16) {
      multiply_weights(op, rows_of(op, x.raw(), x.row_stride(), s.in), rows_of(op, dy_part, stride, s.out), dw, offsets,
                       device_offsets, how);
    } else {
      multiply_weights_singly(op, x, dy_part, stride, dw, offsets, how);
    }
  }
}

void CudaBackend::linear_backward_weight(In x, In dy, Out dw, Accumulate accumulate) {
  constexpr const char* op = "linear_backward_weight";
  backward_weight(op, x, dy, dw, one_group(op, "x", x), Tensor(), accumulate);
}

void CudaBackend::grouped_linear_backward_weight(In x, In dy, const GroupOffsets& groups, Out dw,
                                                 Accumulate accumulate) {
  constexpr const char* op = "grouped_linear_backward_weight";
  check_groups(op, groups, "x", x, "dw", dw);
  check_dense(op, "groups", groups.device, {dw.size(0) + 1}, DType::i32);
  backward_weight(op, x, dy, dw, groups.host, groups.device, accumulate);
}

}  // namespace artel
