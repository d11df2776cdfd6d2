#pragma once

#include <mma.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/simt.h"

// Products of matrices in shared memory, one warp at a time, with sums in f32: on tensor cores for bf16, with fused
// multiply-adds for f32. Both go by tiles of 16 x 16, of which every lane has 8 numbers, so kernels are written once.
// Which 8 is not documented for tensor cores: TilePositions finds out by loading a tile that holds its own indices, and
// so numbers can be scaled by row, masked and rounded where they lie, without a way through shared memory.
//
// Matrices are row-major, begin at multiples of 32 bytes and have rows padded<T>(columns) apart. A caller puts a
// barrier (__syncwarp for memory of one warp) between writing them and multiplying.

namespace artel::simt {

constexpr int tile_size = 16;
constexpr int elements_per_lane = tile_size * tile_size / warp_size;

/// Elements from one row to the next in shared memory, for rows of `columns` elements, a multiple of 32: 16 bytes more,
/// so that packs of 8 consecutive rows lie in different banks.
template <class T>
constexpr __host__ __device__ int padded(int columns) {
  return columns + pack_width<T>;
}

/// Tiles of T: a Sum, the Left and Right operands of one step of a product, and what a warp does with them.
/// `transposed`: the right operand [16, 16] is stored as its transpose.
template <class T>
struct Tiles;

template <>
struct Tiles<__nv_bfloat16> {
  using Sum = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, tile_size, tile_size, tile_size, float>;
  using Left = nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, tile_size, tile_size, tile_size, __nv_bfloat16,
                                      nvcuda::wmma::row_major>;
  template <bool transposed>
  using Right =
      nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, tile_size, tile_size, tile_size, __nv_bfloat16,
                             std::conditional_t<transposed, nvcuda::wmma::col_major, nvcuda::wmma::row_major>>;
  static_assert(static_cast<int>(Sum::num_elements) == elements_per_lane);
  static constexpr int max_unroll = 8;  // steps of a product

  static __device__ void clear(Sum& sum) { nvcuda::wmma::fill_fragment(sum, 0.0F); }
  template <class Operand>
  static __device__ void load(Operand& operand, const __nv_bfloat16* from, int ld) {
    nvcuda::wmma::load_matrix_sync(operand, from, static_cast<unsigned>(ld));
  }
  template <class Right>
  static __device__ void multiply(Sum& sum, const Left& left, const Right& right) {
    nvcuda::wmma::mma_sync(sum, left, right, sum);
  }
  static __device__ void store(float* to, const Sum& sum, int ld) {
    nvcuda::wmma::store_matrix_sync(to, sum, static_cast<unsigned>(ld), nvcuda::wmma::mem_row_major);
  }
  static __device__ void load_sum(Sum& sum, const float* from, int ld) {
    nvcuda::wmma::load_matrix_sync(sum, from, static_cast<unsigned>(ld), nvcuda::wmma::mem_row_major);
  }
};

template <>
struct Tiles<float> {
  /// Rows lane / 4 and lane / 4 + 8, four columns of each.
  struct Sum {
    float x[elements_per_lane];
  };
  struct Left {
    const float* data;
    int ld;
  };
  template <bool transposed>
  struct Right {
    const float* data;
    int ld;
  };
  using Four = Pack<float, 4>;
  static constexpr int max_unroll = 1;

  static __device__ int row() { return static_cast<int>(threadIdx.x) % warp_size / 4; }
  static __device__ int column() { return static_cast<int>(threadIdx.x) % 4 * 4; }
  static __device__ Four read(const float* from) { return *reinterpret_cast<const Four*>(from); }

  static __device__ void clear(Sum& sum) {
#pragma unroll
    for (float& x : sum.x) x = 0.0F;
  }
  template <class Operand>
  static __device__ void load(Operand& operand, const float* from, int ld) {
    operand.data = from;
    operand.ld = ld;
  }
  static __device__ void multiply(Sum& sum, const Left& left, const Right<true>& right) {
#pragma unroll
    for (int k = 0; k < tile_size; k += 4) {
      const Four a = read(left.data + row() * left.ld + k);
      const Four b = read(left.data + (row() + 8) * left.ld + k);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const Four c = read(right.data + (column() + j) * right.ld + k);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sum.x[j] = fmaf(a.values[i], c.values[i], sum.x[j]);
          sum.x[4 + j] = fmaf(b.values[i], c.values[i], sum.x[4 + j]);
        }
      }
    }
  }
  static __device__ void multiply(Sum& sum, const Left& left, const Right<false>& right) {
#pragma unroll
    for (int k = 0; k < tile_size; k += 4) {
      const Four a = read(left.data + row() * left.ld + k);
      const Four b = read(left.data + (row() + 8) * left.ld + k);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const Four c = read(right.data + (k + i) * right.ld + column());
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sum.x[j] = fmaf(a.values[i], c.values[j], sum.x[j]);
          sum.x[4 + j] = fmaf(b.values[i], c.values[j], sum.x[4 + j]);
        }
      }
    }
  }
  static __device__ void store(float* to, const Sum& sum, int ld) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Four four;
#pragma unroll
      for (int j = 0; j < 4; ++j) four.values[j] = sum.x[4 * half + j];
      *reinterpret_cast<Four*>(to + (row() + 8 * half) * ld + column()) = four;
    }
  }
  static __device__ void load_sum(Sum& sum, const float* from, int ld) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Four four = read(from + (row() + 8 * half) * ld + column());
#pragma unroll
      for (int j = 0; j < 4; ++j) sum.x[4 * half + j] = four.values[j];
    }
  }
};

/// Row and column of each of the numbers that a lane has of a Sum. A kernel whose registers are scarce keeps these in
/// shared memory and reads them when it needs them: rows and columns unpacked ahead of a loop would take 16 registers.
class TilePositions {
 public:
  /// Those of the calling lane, the same in every warp. `staging`: 256 floats of shared memory for this warp, at a
  /// multiple of 32 bytes, free again when it returns.
  template <class T>
  static __device__ TilePositions find(float* staging) {
    constexpr int size = tile_size * tile_size;
    for (int i = static_cast<int>(threadIdx.x) % warp_size; i < size; i += warp_size) {
      staging[i] = static_cast<float>(i);
    }
    __syncwarp();
    typename Tiles<T>::Sum indices;
    Tiles<T>::load_sum(indices, staging, tile_size);
    TilePositions positions{0, 0};
#pragma unroll
    for (int i = 0; i < elements_per_lane; ++i) {
      const unsigned index = static_cast<unsigned>(indices.x[i]);
      positions.rows |= index / tile_size << (4 * i);
      positions.columns |= index % tile_size << (4 * i);
    }
    __syncwarp();
    return positions;
  }
  __device__ int row(int i) const {
    return static_cast<int>(rows >> (4 * i) & 15U);
  }
  __device__ int column(int i) const {
    return static_cast<int>(columns >> (4 * i) & 15U);
  }

  unsigned rows;  // 4 bits each
  unsigned columns;
};

/// A matrix [16·rows, 16·columns] in the registers of one warp.
template <class T, int rows, int columns>
struct WarpTiles {
  typename Tiles<T>::Sum sums[rows][columns];

  __device__ void clear() {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
#pragma unroll
      for (int c = 0; c < columns; ++c) Tiles<T>::clear(sums[r][c]);
    }
  }

  /// += left · right, with left [16·rows, depth] and right [depth, 16·columns], which is stored as its transpose
  /// [16·columns, depth] if `transposed`. `steps`: of 16, whose operands may be on their way at the same time.
  template <bool transposed, int depth, int steps = 2>
  __device__ void add_product(const T* left, int left_ld, const T* right, int right_ld) {
    [[maybe_unused]] constexpr int unroll = steps < Tiles<T>::max_unroll ? steps : Tiles<T>::max_unroll;
#pragma unroll unroll
    for (int k = 0; k < depth; k += tile_size) {
      typename Tiles<T>::Left a[rows];
#pragma unroll
      for (int r = 0; r < rows; ++r) Tiles<T>::load(a[r], left + r * tile_size * left_ld + k, left_ld);
#pragma unroll
      for (int c = 0; c < columns; ++c) {
        typename Tiles<T>::template Right<transposed> b;
        Tiles<T>::load(b, right + (transposed ? c * tile_size * right_ld + k : k * right_ld + c * tile_size), right_ld);
#pragma unroll
        for (int r = 0; r < rows; ++r) Tiles<T>::multiply(sums[r][c], a[r], b);
      }
    }
  }

  /// to [16·rows, 16·columns] =.
  __device__ void store(float* to, int ld) const {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
#pragma unroll
      for (int c = 0; c < columns; ++c) {
        Tiles<T>::store(to + r * tile_size * ld + c * tile_size, sums[r][c], ld);
      }
    }
  }

  static constexpr int lanes_per_row = warp_size / (tile_size * rows);
  static constexpr int run_size = tile_size / lanes_per_row;
  static constexpr int staging_ld = tile_size + 4;
  /// Floats of shared memory that for_each_run takes.
  static constexpr int staging_size = tile_size * rows * staging_ld;

  /// Calls put(row, column, values) for runs of `run_size` numbers of a row, until every lane has seen its share.
  /// `staging`: of this warp, at a multiple of 32 bytes, not in use by anybody.
  template <class Put>
  __device__ void for_each_run(float* staging, const Put& put) const {
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
    const int row = lane / lanes_per_row;
    const int column = lane % lanes_per_row * run_size;
#pragma unroll
    for (int c = 0; c < columns; ++c) {
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        Tiles<T>::store(staging + r * tile_size * staging_ld, sums[r][c], staging_ld);
      }
      __syncwarp();
      float values[run_size];
#pragma unroll
      for (int i = 0; i < run_size; i += 4) {
        const auto four = *reinterpret_cast<const Pack<float, 4>*>(staging + row * staging_ld + column + i);
#pragma unroll
        for (int j = 0; j < 4; ++j) values[i + j] = four.values[j];
      }
      put(row, c * tile_size + column, values);
      __syncwarp();
    }
  }
};

/// to = values · factor, rounded. to: a multiple of 16 bytes.
template <class T, int size>
__device__ void store_run(T* to, const float (&values)[size], float factor) {
  constexpr int width = pack_width<T>;
  static_assert(size % width == 0);
#pragma unroll
  for (int i = 0; i < size; i += width) {
    Pack<T, width> pack;
#pragma unroll
    for (int j = 0; j < width; ++j) pack.values[j] = from_float<T>(values[i + j] * factor);
    *reinterpret_cast<Pack<T, width>*>(to + i) = pack;
  }
}

/// A matrix [rows, columns] on its way from global to shared memory, in the registers of a block: what is fetched early
/// arrives while the block computes.
template <class T, int rows, int columns, int num_threads>
class TileCopy {
 public:
  /// The first `num_valid` rows at `from`, `stride` elements apart, all multiples of 16 bytes; the others are zero.
  __device__ void fetch(const T* from, std::int64_t stride, int num_valid) {
    const T* const first = from + row() * stride + column();
#pragma unroll
    for (int i = 0; i < num_passes; ++i) {
#pragma unroll
      for (int j = 0; j < packs_per_lane; ++j) {
        if (row() + i * rows_per_pass < num_valid) {
          packs_[i][j] =
              *reinterpret_cast<const uint4*>(first + i * (rows_per_pass * stride) + j * lanes_per_row * width);
        } else {
          packs_[i][j] = make_uint4(0, 0, 0, 0);
        }
      }
    }
  }
  /// Into rows padded<T>(columns) apart.
  __device__ void put(T* to) const {
    T* const first = to + row() * padded<T>(columns) + column();
#pragma unroll
    for (int i = 0; i < num_passes; ++i) {
#pragma unroll
      for (int j = 0; j < packs_per_lane; ++j) {
        *reinterpret_cast<uint4*>(first + i * (rows_per_pass * padded<T>(columns)) + j * lanes_per_row * width) =
            packs_[i][j];
      }
    }
  }

 private:
  static constexpr int width = pack_width<T>;
  static constexpr int packs_per_row = columns / width;
  static constexpr int lanes_per_row = packs_per_row & -packs_per_row;  // the largest power of 2 that divides it
  static constexpr int packs_per_lane = packs_per_row / lanes_per_row;
  static constexpr int rows_per_pass = num_threads / lanes_per_row;
  static constexpr int num_passes = rows / rows_per_pass;
  static_assert(num_passes * rows_per_pass == rows);

  static __device__ int row() {
    return static_cast<int>(threadIdx.x) / lanes_per_row;
  }
  static __device__ int column() {
    return static_cast<int>(threadIdx.x) % lanes_per_row * width;
  }

  uint4 packs_[num_passes][packs_per_lane];
};

}  // namespace artel::simt
