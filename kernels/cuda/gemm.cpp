#include "kernels/cuda/gemm.h"

#include <algorithm>
#include <limits>
#include <string>

#include "util/error.h"

namespace artel::cuda {
namespace {

cudaDataType data_type(DType dtype) {
  return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

// cuBLAS is column-major: it sees every matrix transposed, and computes C^T = op(B)^T · op(A)^T.
struct Arguments {
  cublasOperation_t op_b;
  cublasOperation_t op_a;
  int n;
  int m;
  int k;
  int ldb;
  int lda;
  int ldc;
  float beta;
};

Arguments arguments(const char* op, const GemmCall& g) {
  const std::int64_t largest = std::max({g.m, g.n, g.k, g.lda, g.ldb, g.ldc});
  constexpr std::int64_t most = std::numeric_limits<int>::max();
  if (largest > most) {
    fail(op, "required sizes and strides of at most " + std::to_string(most) + ", found " + std::to_string(largest));
  }
  return {g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
          g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
          static_cast<int>(g.n),
          static_cast<int>(g.m),
          static_cast<int>(g.k),
          static_cast<int>(g.ldb),
          static_cast<int>(g.lda),
          static_cast<int>(g.ldc),
          g.accumulate ? 1.0F : 0.0F};
}

void zero(const char* op, cudaStream_t stream, const GemmCall& g) {
  const std::size_t element = dtype_size(g.out);
  const bool dense = g.ldc == g.n;
  const std::size_t length = static_cast<std::size_t>(dense ? g.m * g.n : g.n) * element;
  for (std::int64_t row = 0; row < (dense ? 1 : g.m); ++row) {
    void* const begin = static_cast<char*>(g.c) + static_cast<std::size_t>(row * g.ldc) * element;
    check(op, "cudaMemsetAsync", cudaMemsetAsync(begin, 0, length, stream));
  }
}

bool aligned(const void* data, std::int64_t stride, DType dtype) {
  constexpr std::size_t bytes = 16;
  return reinterpret_cast<std::uintptr_t>(data) % bytes == 0 &&
         static_cast<std::size_t>(stride) * dtype_size(dtype) % bytes == 0;
}

}  // namespace

void multiply(const char* op, const GemmMachine& machine, const GemmCall& g) {
  if (g.m == 0 || g.n == 0) return;
  if (g.k == 0) {
    if (!g.accumulate) zero(op, machine.stream, g);
    return;
  }
  const Arguments arg = arguments(op, g);
  const float alpha = 1.0F;
  check(op, "cublasGemmEx",
        cublasGemmEx(machine.cublas.get(), arg.op_b, arg.op_a, arg.n, arg.m, arg.k, &alpha, g.b, data_type(g.in),
                     arg.ldb, g.a, data_type(g.in), arg.lda, &arg.beta, g.c, data_type(g.out), arg.ldc,
                     CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

bool can_group(const GemmCall& g) {
  return g.in == g.out && g.k > 0 && aligned(g.a, g.lda, g.in) && aligned(g.b, g.ldb, g.in) &&
         aligned(g.c, g.ldc, g.out);
}

void multiply_grouped(const char* op, const GemmMachine& machine, UploadRing& uploads, void** pointers,
                      const std::vector<GemmCall>& gemms) {
  if (gemms.empty()) return;
  const std::size_t num = gemms.size();
  std::vector<cublasOperation_t> op_b(num), op_a(num);
  std::vector<int> n(num), m(num), k(num), ldb(num), lda(num), ldc(num), ones(num, 1);
  std::vector<float> alpha(num, 1.0F), beta(num);
  std::vector<const void*> operands(3 * num);
  for (std::size_t i = 0; i < num; ++i) {
    const Arguments arg = arguments(op, gemms[i]);
    op_b[i] = arg.op_b;
    op_a[i] = arg.op_a;
    n[i] = arg.n;
    m[i] = arg.m;
    k[i] = arg.k;
    ldb[i] = arg.ldb;
    lda[i] = arg.lda;
    ldc[i] = arg.ldc;
    beta[i] = arg.beta;
    operands[i] = gemms[i].b;
    operands[num + i] = gemms[i].a;
    operands[2 * num + i] = gemms[i].c;
  }
  uploads.upload(operands.data(), pointers, operands.size() * sizeof(void*));
  check(op, "cublasGemmGroupedBatchedEx",
        cublasGemmGroupedBatchedEx(machine.cublas.get(), op_b.data(), op_a.data(), n.data(), m.data(), k.data(),
                                   alpha.data(), pointers, data_type(gemms[0].in), ldb.data(), pointers + num,
                                   data_type(gemms[0].in), lda.data(), beta.data(), pointers + 2 * num,
                                   data_type(gemms[0].out), ldc.data(), static_cast<int>(num), ones.data(),
                                   CUBLAS_COMPUTE_32F));
}

}  // namespace artel::cuda
