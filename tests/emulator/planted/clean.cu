#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <mma.h>

#include "emulator/planted/launch.h"

namespace planted {
namespace {

constexpr unsigned full_mask = artel::simt::full_mask;

__global__ void __launch_bounds__(128) sums_kernel(const float* x, float* sums, int width) {
  SIMT_SHARED(float, partials, [32]);
  float sum = 0;
  const float* row = x + blockIdx.x * static_cast<unsigned>(width);
  for (int i = static_cast<int>(threadIdx.x); i < width; i += static_cast<int>(blockDim.x)) sum += __ldg(row + i);
  sum = artel::simt::block_sum(sum, partials);
  const float largest = artel::simt::block_max(sum, partials);
  if (threadIdx.x == 0) sums[blockIdx.x] = fminf(sum, largest);
}

__global__ void transpose_kernel(const float* x, float* y, int rows, int columns) {
  SIMT_DYNAMIC_SHARED(memory);
  float* tile = reinterpret_cast<float*>(memory);
  const int tx = static_cast<int>(threadIdx.x);
  const int ty = static_cast<int>(threadIdx.y);
  const int row = static_cast<int>(blockIdx.y) * 16 + ty;
  const int column = static_cast<int>(blockIdx.x) * 16 + tx;
  for (int round = 0; round < 2; ++round) {
    if (row < rows && column < columns) tile[ty * 17 + tx] = x[row * columns + column];
    __syncthreads();
    const int y_row = static_cast<int>(blockIdx.x) * 16 + ty;
    const int y_column = static_cast<int>(blockIdx.y) * 16 + tx;
    if (y_row < columns && y_column < rows) y[y_row * rows + y_column] = tile[tx * 17 + ty];
    __syncthreads();
  }
}

__global__ void product_kernel(const float* a, const float* b, float* c) {
  using namespace nvcuda;
  SIMT_SHARED(__nv_bfloat16, shared_a, [256]);
  SIMT_SHARED(__nv_bfloat16, shared_b, [256]);
  SIMT_SHARED(float, shared_c, [16 * 20]);
  for (int i = static_cast<int>(threadIdx.x); i < 256; i += 32) {
    shared_a[i] = __float2bfloat16(a[i]);
    shared_b[i % 16 * 16 + i / 16] = __float2bfloat16(b[i]);
  }
  __syncwarp();
  wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, wmma::row_major> of_a;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, wmma::col_major> of_b;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> of_c;
  wmma::fill_fragment(of_c, 0.0F);
  wmma::load_matrix_sync(of_a, &shared_a[0], 16);
  wmma::load_matrix_sync(of_b, &shared_b[0], 16);
  wmma::mma_sync(of_c, of_a, of_b, of_c);
  for (int i = 0; i < of_c.num_elements; ++i) of_c.x[i] *= 2;
  wmma::store_matrix_sync(&shared_c[0], of_c, 20, wmma::mem_row_major);
  __syncwarp();
  for (int i = static_cast<int>(threadIdx.x); i < 256; i += 32) c[i] = shared_c[i / 16 * 20 + i % 16];
}

__global__ void histogram_kernel(const int* x, int n, int num_bins, int* counts) {
  SIMT_SHARED(int, bins, [64]);
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < num_bins; i += static_cast<int>(blockDim.x)) bins[i] = 0;
  __syncthreads();
  for (int i = static_cast<int>(blockIdx.x * blockDim.x) + thread; i < n;
       i += static_cast<int>(gridDim.x * blockDim.x)) {
    atomicAdd(bins + x[i], 1);
  }
  __syncthreads();
  for (int i = thread; i < num_bins; i += static_cast<int>(blockDim.x)) atomicAdd(counts + i, bins[i]);
}

__global__ void bytes_kernel(unsigned char* y, int n) {
  SIMT_SHARED(unsigned char, bytes, [128]);
  const int i = static_cast<int>(threadIdx.x);
  bytes[i] = static_cast<unsigned char>(i);
  __syncthreads();
  if (i < n) y[i] = bytes[127 - i];
}

// Two halves of each warp work on their own, with masks of their own.
__global__ void halves_kernel(const int* x, int* y) {
  SIMT_SHARED(int, values, [64]);
  const int i = static_cast<int>(threadIdx.x);
  const unsigned mask = i % 32 < 16 ? 0x0000ffffU : 0xffff0000U;
  int value = x[i];
  const int num_rounds = i % 32 < 16 ? 1 : 3;
  for (int round = 0; round < num_rounds; ++round) {
    values[i] = value;
    __syncwarp(mask);
    value = values[i ^ 1] + __shfl_xor_sync(mask, value, 2, 16);
    __syncwarp(mask);
  }
  y[i] = value;
}

__global__ void many_barriers_kernel(int* y, int num_rounds) {
  SIMT_SHARED(int, values, [64]);
  const int i = static_cast<int>(threadIdx.x);
  int value = i;
  for (int round = 0; round < num_rounds; ++round) {
    values[i] = value;
    __syncthreads();
    value = values[(i + 1) % 64];
    __syncthreads();
  }
  y[blockIdx.x * 64 + threadIdx.x] = value;
}

__global__ void many_sync_warps_kernel(int* y, int num_rounds, bool barrier_missing) {
  SIMT_SHARED(int, values, [64]);
  const int i = static_cast<int>(threadIdx.x);
  const int first = i / 32 * 32;
  int value = i;
  for (int round = 0; round < num_rounds; ++round) {
    values[i] = value;
    __syncwarp();
    value = values[first + (i + 1) % 32];
    __syncwarp();
  }
  if (!barrier_missing) __syncthreads();
  values[i] = value;  // BUG many_sync_warps
  if (!barrier_missing) __syncthreads();
  y[i] = values[63 - i];  // BUG many_sync_warps
}

__global__ void packs_kernel(const float* x, float* y, int n) {
  using Pack = artel::simt::Pack<float, 4>;
  struct Row {
    Pack packs[3];
  };
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i * 12 + 12 > n) return;
  Row row = *reinterpret_cast<const Row*>(x + i * 12);
  std::array<float, 12> copy;
  for (int k = 0; k < 12; ++k) copy[static_cast<unsigned>(k)] = row.packs[k / 4].values[k % 4] + 1;
  for (int k = 0; k < 12; ++k) row.packs[k / 4].values[k % 4] = copy[static_cast<unsigned>(11 - k)];
  *reinterpret_cast<Row*>(y + i * 12) = row;
}

__global__ void collectives_kernel(const int* x, int* y) {
  const int i = static_cast<int>(threadIdx.x);
  const int lane = i % 32;
  const int value = x[i];
  int* of_thread = y + i * 20;
  of_thread[0] = __shfl_sync(full_mask, value, 5);
  of_thread[1] = __shfl_sync(full_mask, value, 35, 8);
  of_thread[2] = __shfl_up_sync(full_mask, value, 3);
  of_thread[3] = __shfl_up_sync(full_mask, value, 1, 4);
  of_thread[4] = __shfl_down_sync(full_mask, value, 3);
  of_thread[5] = __shfl_down_sync(full_mask, value, 1, 4);
  of_thread[6] = __shfl_xor_sync(full_mask, value, 9);
  of_thread[7] = __shfl_xor_sync(full_mask, value, 1, 2);
  of_thread[8] = static_cast<int>(__ballot_sync(full_mask, value > 40));
  of_thread[9] = __any_sync(full_mask, value == 1000) + 2 * __all_sync(full_mask, value < 1000);
  of_thread[10] = __reduce_add_sync(full_mask, value);
  of_thread[11] = __reduce_min_sync(full_mask, value - 50);
  of_thread[12] = static_cast<int>(__reduce_max_sync(full_mask, static_cast<unsigned>(value)));
  of_thread[13] = static_cast<int>(__reduce_xor_sync(full_mask, static_cast<unsigned>(value)));
  of_thread[14] = static_cast<int>(__match_any_sync(full_mask, value % 3));
  of_thread[15] = __syncthreads_count(value > 40);
  of_thread[16] = __syncthreads_and(value < 1000);
  of_thread[17] = __syncthreads_or(value == 1000);
  const double wide = __shfl_xor_sync(full_mask, static_cast<double>(value) + 0.5, 1);
  of_thread[18] = static_cast<int>(wide * 2);
  of_thread[19] = __popc(__ballot_sync(full_mask, lane < 7)) + __ffs(value) + __clz(value);
}

__global__ void atomics_kernel(int* i, unsigned* u, unsigned long long* l, float* f, double* d) {
  const auto t = static_cast<int>(threadIdx.x + blockIdx.x * blockDim.x);
  const auto unsigned_t = static_cast<unsigned>(t);
  atomicAdd(i, t);
  atomicSub(i + 1, t);
  atomicMax(i + 2, t);
  atomicMin(i + 3, -t);
  atomicExch(i + 4, 7);
  atomicCAS(i + 5, t, t + 1);
  atomicAdd(u, unsigned_t);
  atomicOr(u + 1, 1U << (unsigned_t % 32));
  atomicAnd(u + 2, ~(1U << (unsigned_t % 32)));
  atomicInc(u + 3, 9U);
  atomicMax(u + 4, unsigned_t);
  atomicAdd(l, static_cast<unsigned long long>(t) << 32);
  atomicAdd(f, 1.0F);
  atomicAdd(d, 0.5);
}

__global__ void indices_kernel(int* y) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned block_size = blockDim.x * blockDim.y * blockDim.z;
  y[block * block_size + thread] = static_cast<int>(block * block_size + thread) + warpSize;
}

__constant__ float factors[4] = {1, 2, 3, 4};
constexpr float powers[4] = {1, 10, 100, 1000};

__global__ void constants_kernel(float* y) {
  y[threadIdx.x] = factors[threadIdx.x % 4] * powers[threadIdx.x / 32];
}

__global__ void mathematics_kernel(const float* x, double* y) {
  const float v = x[threadIdx.x];
  double sum = 0;
  sum += fabsf(__expf(v) - expf(v)) + fabsf(__logf(v) - logf(v)) + fabsf(rsqrtf(v) - 1 / sqrtf(v));
  sum += fabs(exp(static_cast<double>(v)) - ::exp(static_cast<double>(v))) + fminf(v, 0.0F) + min(0, 5) + max(-1, 0);
  sum += isnan(v) || isinf(v) || !isfinite(v) ? 1 : 0;
  sum += fabsf(__fdividef(v, 4.0F) - v / 4) + fabsf(__fmaf_rn(v, 2.0F, 1.0F) - fmaf(v, 2.0F, 1.0F));
  sum += __float_as_int(__int_as_float(77)) - 77 + __brev(1U) - 0x80000000U;
  sum += tanhf(0.0F) + erff(0.0F) + log1pf(0.0F) + sinf(0.0F) + (1 - cosf(0.0F)) + floorf(0.5F) + (1 - ceilf(0.5F));
  y[threadIdx.x] = sum;
}

}  // namespace

void sums_of_rows(const float* x, float* sums, int num_rows, int width, cudaStream_t stream) {
  launch(stream, sums_kernel, static_cast<unsigned>(num_rows), 128, 0, x, sums, width);
}
void transposed_tiles(const float* x, float* y, int rows, int columns, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(columns + 15) / 16, static_cast<unsigned>(rows + 15) / 16);
  launch(stream, transpose_kernel, grid, dim3(16, 16), 16 * 17 * sizeof(float), x, y, rows, columns);
}
void product_of_16x16(const float* a, const float* b, float* c, cudaStream_t stream) {
  launch(stream, product_kernel, 1, 32, 0, a, b, c);
}
void histogram(const int* x, int n, int num_bins, int* counts, cudaStream_t stream) {
  launch(stream, histogram_kernel, 5, 96, 0, x, n, num_bins, counts);
}
void bytes_side_by_side(unsigned char* y, int n, cudaStream_t stream) {
  launch(stream, bytes_kernel, 1, 128, 0, y, n);
}
void halves_of_warps(const int* x, int* y, cudaStream_t stream) {
  launch(stream, halves_kernel, 1, 64, 0, x, y);
}
void many_barriers(int* y, int num_rounds, cudaStream_t stream) {
  launch(stream, many_barriers_kernel, 2, 64, 0, y, num_rounds);
}
void many_sync_warps(int* y, int num_rounds, bool barrier_missing, cudaStream_t stream) {
  launch(stream, many_sync_warps_kernel, 1, 64, 0, y, num_rounds, barrier_missing);
}
void packs(const float* x, float* y, int n, cudaStream_t stream) {
  launch(stream, packs_kernel, static_cast<unsigned>(n + 767) / 768, 64, 0, x, y, n);
}
void collectives(const int* x, int* y, cudaStream_t stream) {
  launch(stream, collectives_kernel, 1, 64, 0, x, y);
}
void atomics(int* i, unsigned* u, unsigned long long* l, float* f, double* d, cudaStream_t stream) {
  launch(stream, atomics_kernel, 3, 40, 0, i, u, l, f, d);
}
void indices(int* y, dim3 grid, dim3 block, cudaStream_t stream) {
  launch(stream, indices_kernel, grid, block, 0, y);
}
void constants(float* y, cudaStream_t stream) {
  launch(stream, constants_kernel, 1, 128, 0, y);
}
void mathematics(const float* x, double* y, cudaStream_t stream) {
  launch(stream, mathematics_kernel, 1, 128, 0, x, y);
}

int standard_library(int n) {
  std::vector<int> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), 0);
  std::sort(values.begin(), values.end(), std::greater<>());
  std::map<std::string, std::shared_ptr<int>> numbers;
  for (const int value : values) numbers[std::to_string(value)] = std::make_shared<int>(std::max(value, 1));
  int sum = 0;
  for (const auto& [name, value] : numbers) sum += *value + static_cast<int>(std::min<std::size_t>(name.size(), 1));
  return sum;
}

}  // namespace planted
