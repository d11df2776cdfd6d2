#include <cmath>
#include <cstring>

#include "emulator/cublas_support.h"
#include "emulator/cublas_types.h"

using namespace emulator_tests;

namespace {

template <class Out>
bool is_nan(Out x) {
  return std::isnan(number(x));
}

template <class In, class Out>
void check_single(const Shape& s, cublasComputeType_t compute) {
  Session session;
  const auto a = numbers<In>(s.size_a(), 1);
  const auto b = numbers<In>(s.size_b(), 2);
  const auto c = numbers<Out>(s.size_c(), 3);
  for (const double beta : {0.0, 1.0}) {
    DeviceArray<In> device_a(a);
    DeviceArray<In> device_b(b);
    // C is not written before a product with beta = 0: it is NaN.
    DeviceArray<Out> device_c(s.size_c());
    if (beta != 0) {
      REQUIRE(cudaMemcpy(device_c.data(), c.data(), device_c.num_bytes(), cudaMemcpyHostToDevice) == cudaSuccess);
    }
    {
      Stream stream;
      Handle handle(stream);
      const float scalars[] = {2.0F, static_cast<float>(beta)};
      const double scalars_in_double[] = {2.0, beta};
      const bool in_double = compute == CUBLAS_COMPUTE_64F;
      const void* const alpha = in_double ? static_cast<const void*>(scalars_in_double) : scalars;
      const void* const beta_pointer = in_double ? static_cast<const void*>(scalars_in_double + 1) : scalars + 1;
      REQUIRE(cublasGemmEx(handle, s.op_a(), s.op_b(), s.m, s.n, s.k, alpha, device_a.data(), type_of<In>, s.lda(),
                           device_b.data(), type_of<In>, s.ldb(), beta_pointer, device_c.data(), type_of<Out>, s.ldc(),
                           compute, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
      stream.wait();
    }
    INFO(reports());
    REQUIRE(emulator::errors().empty());
    std::vector<Out> found(s.size_c());
    {
      const emulator::DeviceAccess access;  // not all of it was written, so that it is not copied
      std::memcpy(found.data(), device_c.data(), device_c.num_bytes());
    }
    for (int j = 0; j < s.n; ++j) {
      for (int i = 0; i < s.m; ++i) {
        REQUIRE(number(found[static_cast<std::size_t>(i + j * s.ldc())]) == expected(s, a, b, c, i, j, 2, beta));
      }
      // What lies between the columns is left alone.
      if (beta == 0) REQUIRE(is_nan(found[static_cast<std::size_t>(s.m + j * s.ldc())]));
    }
  }
}

}  // namespace

TEST_CASE("Products agree with their definition for every transposition and type") {
  const bool transpose_a = GENERATE(false, true);
  const bool transpose_b = GENERATE(false, true);
  const Shape shape{transpose_a, transpose_b, 5, 4, 7};
  check_single<float, float>(shape, CUBLAS_COMPUTE_32F);
  check_single<__nv_bfloat16, __nv_bfloat16>(shape, CUBLAS_COMPUTE_32F);
  check_single<__nv_bfloat16, float>(shape, CUBLAS_COMPUTE_32F);
  check_single<double, double>(shape, CUBLAS_COMPUTE_64F);
  check_single<float, float>({transpose_a, transpose_b, 3, 2, 0}, CUBLAS_COMPUTE_32F);
}

TEST_CASE("Sums are in float and rounded once to the type of C") {
  Session session;
  // 256 + 1 is not a bfloat16, 256 + 2 is.
  DeviceArray<__nv_bfloat16> a(
      std::vector<__nv_bfloat16>{__float2bfloat16(256), __float2bfloat16(1), __float2bfloat16(1)});
  DeviceArray<__nv_bfloat16> b(std::vector<__nv_bfloat16>(3, __float2bfloat16(1)));
  DeviceArray<__nv_bfloat16> c(1);
  Stream stream;
  Handle handle(stream);
  const float one = 1;
  const float zero = 0;
  REQUIRE(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 3, &one, a.data(), CUDA_R_16BF, 1, b.data(), CUDA_R_16BF,
                       3, &zero, c.data(), CUDA_R_16BF, 1, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(number(c.values()[0]) == 258);
}

TEST_CASE("Batches with strides are as many single products") {
  Session session;
  const Shape s{false, true, 3, 2, 4};
  const auto a = numbers<float>(3 * s.size_a(), 1);
  const auto b = numbers<float>(s.size_b(), 2);
  DeviceArray<float> device_a(a);
  DeviceArray<float> device_b(b);
  DeviceArray<float> device_c(3 * s.size_c());
  Stream stream;
  Handle handle(stream);
  const float one = 1;
  const float zero = 0;
  const auto stride_a = static_cast<long long>(s.size_a());
  const auto multiply = [&](long long stride_c) {
    return cublasGemmStridedBatchedEx(handle, s.op_a(), s.op_b(), s.m, s.n, s.k, &one, device_a.data(), CUDA_R_32F,
                                      s.lda(), stride_a, device_b.data(), CUDA_R_32F, s.ldb(), 0, &zero,
                                      device_c.data(), CUDA_R_32F, s.ldc(), stride_c, 3, CUBLAS_COMPUTE_32F,
                                      CUBLAS_GEMM_DEFAULT);
  };
  REQUIRE(multiply(static_cast<long long>(s.size_c())) == CUBLAS_STATUS_SUCCESS);
  stream.wait();
  REQUIRE(emulator::errors().empty());
  const emulator::DeviceAccess access;  // not all of it was written, so that it is not copied
  for (std::size_t p = 0; p < 3; ++p) {
    const std::vector<float> own(a.begin() + static_cast<long>(p * s.size_a()), a.end());
    for (int j = 0; j < s.n; ++j) {
      for (int i = 0; i < s.m; ++i) {
        const std::size_t at = p * s.size_c() + static_cast<std::size_t>(i + j * s.ldc());
        REQUIRE(static_cast<double>(device_c.data()[at]) == expected(s, own, b, std::vector<float>(), i, j, 1, 0));
      }
    }
  }
  REQUIRE(multiply(2) == CUBLAS_STATUS_INVALID_VALUE);
  REQUIRE(num_reported("cublas", {"cublasGemmStridedBatchedEx", "stride of C"}) == 1);
}

TEST_CASE("The tables of types are those of the manual") {
  using emulator::gemm_ex_supports;
  using emulator::grouped_gemm_supports;
  constexpr auto f32 = CUBLAS_COMPUTE_32F;
  REQUIRE(gemm_ex_supports(f32, CUDA_R_16BF, CUDA_R_16BF, CUDA_R_16BF));
  REQUIRE(gemm_ex_supports(f32, CUDA_R_16BF, CUDA_R_16BF, CUDA_R_32F));
  REQUIRE(gemm_ex_supports(f32, CUDA_R_16F, CUDA_R_16F, CUDA_R_32F));
  REQUIRE(gemm_ex_supports(f32, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F));
  REQUIRE_FALSE(gemm_ex_supports(f32, CUDA_R_16BF, CUDA_R_32F, CUDA_R_32F));
  REQUIRE_FALSE(gemm_ex_supports(f32, CUDA_R_32F, CUDA_R_32F, CUDA_R_16BF));
  REQUIRE_FALSE(gemm_ex_supports(f32, CUDA_R_16F, CUDA_R_16F, CUDA_R_16BF));
  REQUIRE_FALSE(gemm_ex_supports(CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_16BF, CUDA_R_16BF, CUDA_R_32F));
  REQUIRE_FALSE(gemm_ex_supports(CUBLAS_COMPUTE_64F, CUDA_R_32F, CUDA_R_32F, CUDA_R_64F));
  REQUIRE(grouped_gemm_supports(f32, CUDA_R_16BF, CUDA_R_16BF, CUDA_R_16BF));
  REQUIRE(grouped_gemm_supports(f32, CUDA_R_16F, CUDA_R_16F, CUDA_R_16F));
  REQUIRE(grouped_gemm_supports(f32, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F));
  REQUIRE(grouped_gemm_supports(CUBLAS_COMPUTE_64F, CUDA_R_64F, CUDA_R_64F, CUDA_R_64F));
  REQUIRE_FALSE(grouped_gemm_supports(f32, CUDA_R_16BF, CUDA_R_16BF, CUDA_R_32F));
  REQUIRE_FALSE(grouped_gemm_supports(f32, CUDA_R_16F, CUDA_R_16F, CUDA_R_32F));
  REQUIRE_FALSE(grouped_gemm_supports(CUBLAS_COMPUTE_32F_PEDANTIC, CUDA_R_16BF, CUDA_R_16BF, CUDA_R_16BF));
}

TEST_CASE("Bad arguments of a product are refused or reported") {
  Session session;
  const Shape s{false, false, 4, 4, 4};
  DeviceArray<float> a(numbers<float>(s.size_a(), 1));
  DeviceArray<float> b(numbers<float>(s.size_b(), 1));
  DeviceArray<float> c(s.size_c());
  float on_host[64] = {};
  Stream stream;
  Handle handle(stream);
  const float one = 1;
  const float zero = 0;
  const auto multiply = [&](const void* pa, int lda, void* pc, cudaDataType c_type) {
    return cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, s.m, s.n, s.k, &one, pa, CUDA_R_32F, lda, b.data(),
                        CUDA_R_32F, s.ldb(), &zero, pc, c_type, s.ldc(), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  };
  REQUIRE(multiply(a.data(), 3, c.data(), CUDA_R_32F) == CUBLAS_STATUS_INVALID_VALUE);
  REQUIRE(multiply(a.data(), s.lda(), c.data(), CUDA_R_16BF) == CUBLAS_STATUS_NOT_SUPPORTED);
  REQUIRE(emulator::errors().empty());
  REQUIRE(multiply(on_host, s.lda(), c.data(), CUDA_R_32F) == CUBLAS_STATUS_EXECUTION_FAILED);
  REQUIRE(num_reported("cublas", {"required A in device memory"}) == 1);
  REQUIRE(multiply(reinterpret_cast<char*>(a.data()) + 2, s.lda(), c.data(), CUDA_R_32F) ==
          CUBLAS_STATUS_EXECUTION_FAILED);
  REQUIRE(num_reported("cublas", {"required A aligned to its elements of 4 bytes"}) == 1);
  REQUIRE(multiply(a.data(), s.lda(), a.data(), CUDA_R_32F) == CUBLAS_STATUS_EXECUTION_FAILED);
  REQUIRE(num_reported("cublas", {"required C apart from A"}) == 1);
  REQUIRE(multiply(a.data() + 8, s.lda(), c.data(), CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
  stream.wait();
  REQUIRE(num_reported("memcheck", {"cublasGemmEx on stream", "A of 16 bytes", "is in no allocation"}) == 1);
  REQUIRE(cublasSetWorkspace(handle, on_host, 64) != CUBLAS_STATUS_SUCCESS);
}

TEST_CASE("Two streams that share a workspace without order are reported") {
  Session session;
  DeviceArray<float> a(std::vector<float>(16, 1));
  DeviceArray<float> c(16);
  DeviceArray<float> d(16);
  DeviceArray<char> workspace(1024);
  Stream first_stream;
  Stream second_stream;
  Handle first(first_stream);
  Handle second(second_stream);
  const float one = 1;
  const float zero = 0;
  const auto multiply = [&](cublasHandle_t handle, float* out) {
    REQUIRE(cublasSetWorkspace(handle, workspace.data(), workspace.num_bytes()) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, a.data(), CUDA_R_32F, 4, a.data(), CUDA_R_32F,
                         4, &zero, out, CUDA_R_32F, 4, CUBLAS_COMPUTE_32F,
                         CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  };
  multiply(first, c.data());
  multiply(second, d.data());
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  REQUIRE(num_reported("ordering", {"cublasGemmEx on stream", "of the allocation of 1024 bytes"}) == 1);
  REQUIRE(cublasSetStream(first, second_stream) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(num_reported("cublas", {"cublasSetStream takes away the workspace"}) == 1);
}

TEST_CASE("A product of memory that nobody has written is reported in a checking build") {
  Session session;
  DeviceArray<float> a(16);
  DeviceArray<float> b(std::vector<float>(16, 1));
  DeviceArray<float> c(16);
  Stream stream;
  Handle handle(stream);
  const float one = 1;
  const float zero = 0;
  REQUIRE(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, a.data(), CUDA_R_32F, 4, b.data(), CUDA_R_32F,
                       4, &zero, c.data(), CUDA_R_32F, 4, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  stream.wait();
  REQUIRE(num_reported("initcheck", {"cublasGemmEx on stream", "reads memory of A"}) ==
          (emulator::checks_memory() ? 1 : 0));
}
