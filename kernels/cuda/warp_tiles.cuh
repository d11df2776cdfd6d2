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
  static constexpr int unroll = 2;  // steps of a product

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
  static constexpr int unroll = 1;

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
};

/// Row and column of the lane's i-th number of a Sum.
template <class T>
class TilePositions;

template <>
class TilePositions<__nv_bfloat16> {
 public:
  /// `staging`: 256 floats of shared memory for this warp, at a multiple of 32 bytes, free again when it returns.
  explicit __device__ TilePositions(float* staging) {
    constexpr int size = tile_size * tile_size;
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
    for (int i = lane; i < size; i += warp_size) staging[i] = static_cast<float>(i);
    __syncwarp();
    Tiles<__nv_bfloat16>::Sum indices;
    nvcuda::wmma::load_matrix_sync(indices, staging, tile_size, nvcuda::wmma::mem_row_major);
#pragma unroll
    for (int i = 0; i < elements_per_lane; ++i) {
      const unsigned index = static_cast<unsigned>(indices.x[i]);
      rows_ |= index / tile_size << (4 * i);
      columns_ |= index % tile_size << (4 * i);
    }
    __syncwarp();
  }
  __device__ int row(int i) const {
    return static_cast<int>(rows_ >> (4 * i) & 15U);
  }
  __device__ int column(int i) const {
    return static_cast<int>(columns_ >> (4 * i) & 15U);
  }

 private:
  unsigned rows_ = 0;  // 4 bits each
  unsigned columns_ = 0;
};

template <>
class TilePositions<float> {
 public:
  explicit __device__ TilePositions(float* /*staging*/) {}
  __device__ int row(int i) const { return Tiles<float>::row() + i / 4 * 8; }
  __device__ int column(int i) const { return Tiles<float>::column() + i % 4; }
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
  /// [16·columns, depth] if `transposed`.
  template <bool transposed, int depth>
  __device__ void add_product(const T* left, int left_ld, const T* right, int right_ld) {
    [[maybe_unused]] constexpr int unroll = Tiles<T>::unroll;
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
#pragma unroll
    for (int i = 0; i < num_packs; ++i) {
      if (row(i) < num_valid) {
        packs_[i] = *reinterpret_cast<const Pack<T, pack_width<T>>*>(from + row(i) * stride + column(i));
      } else {
#pragma unroll
        for (T& value : packs_[i].values) value = from_float<T>(0.0F);
      }
    }
  }
  /// Into rows padded<T>(columns) apart.
  __device__ void put(T* to) const {
#pragma unroll
    for (int i = 0; i < num_packs; ++i) {
      *reinterpret_cast<Pack<T, pack_width<T>>*>(to + row(i) * padded<T>(columns) + column(i)) = packs_[i];
    }
  }

 private:
  static constexpr int packs_per_row = columns / pack_width<T>;
  static constexpr int num_packs = rows * packs_per_row / num_threads;
  static_assert(num_packs * num_threads == rows * packs_per_row);

  static __device__ int row(int i) {
    return (static_cast<int>(threadIdx.x) + i * num_threads) / packs_per_row;
  }
  static __device__ int column(int i) {
    return (static_cast<int>(threadIdx.x) + i * num_threads) % packs_per_row * pack_width<T>;
  }

  Pack<T, pack_width<T>> packs_[num_packs];
};

}  // namespace artel::simt
