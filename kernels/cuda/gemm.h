#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <vector>

#include "core/tensor.h"
#include "kernels/cuda/cublas_handle.h"
#include "kernels/cuda/staging.h"

namespace artel::cuda {

/// C [m, n] = or += op(A) [m, k] · op(B) [k, n], row-major, leading dimensions in elements. The memory behind `a` is
/// [m, k] or, transposed, [k, m]; behind `b` [k, n] or [n, k]. A and B are of type `in`; C is of that type or f32.
/// Accumulation in f32. k = 0 stores zeros or adds nothing.
struct GemmCall {
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t lda = 0;
  std::int64_t ldb = 0;
  std::int64_t ldc = 0;
  bool transpose_a = false;
  bool transpose_b = false;
  DType in = DType::f32;
  DType out = DType::f32;
  bool accumulate = false;
};

/// What products run on.
struct GemmMachine {
  const CublasHandle& cublas;
  cudaStream_t stream;
};

/// Errors: a size beyond 2^31 - 1; whatever cuBLAS reports.
void multiply(const char* op, const GemmMachine& machine, const GemmCall& gemm);

/// Whether multiply_grouped takes such products: cuBLAS has one call for products whose C is of their type, and reads
/// 16 bytes at once.
bool can_group(const GemmCall& gemm);
/// Several products of the same types and transposes in one call. `pointers`: device memory for 3 · gemms.size()
/// pointers, used in the stream's order.
void multiply_grouped(const char* op, const GemmMachine& machine, UploadRing& uploads, void** pointers,
                      const std::vector<GemmCall>& gemms);

/// Rows of bf16 that lie `stride` elements apart.
struct Bf16Rows {
  const __nv_bfloat16* data;
  std::int64_t stride;
  int width;
};

/// An f32 matrix as three of bf16 that add up to it: parts [rows, 3·columns] holds in every row x rounded, what that
/// leaves rounded, and the rest. A number that is not finite stands in the first part alone.
void split_rows(const char* op, cudaStream_t stream, const Tensor& x, __nv_bfloat16* parts);

}  // namespace artel::cuda
