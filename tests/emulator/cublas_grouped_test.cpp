#include <memory>
#include <string>

#include "emulator/cublas_support.h"

using namespace emulator_tests;

namespace {

/// Three groups of sizes 2, 1 and 1 with shapes of their own, as a grouped call takes them.
template <class T>
struct Groups {
  std::vector<Shape> shapes = {{false, false, 8, 3, 8}, {true, false, 8, 5, 16}, {true, true, 8, 0, 8}};
  std::vector<int> sizes = {2, 1, 1};
  std::vector<cublasOperation_t> op_a, op_b;
  std::vector<int> m, n, k, lda, ldb, ldc;
  std::vector<float> alpha, beta;
  std::vector<std::vector<T>> host_a, host_b;
  std::vector<std::unique_ptr<DeviceArray<T>>> a, b, c;
  std::vector<void*> pointers[3];

  Groups() {
    for (std::size_t g = 0; g < shapes.size(); ++g) {
      const Shape& s = shapes[g];
      op_a.push_back(s.op_a());
      op_b.push_back(s.op_b());
      m.push_back(s.m);
      n.push_back(s.n);
      k.push_back(s.k);
      lda.push_back(s.lda());
      ldb.push_back(s.ldb());
      ldc.push_back(s.ldc());
      alpha.push_back(static_cast<float>(g + 1));
      beta.push_back(0);
      for (int i = 0; i < sizes[g]; ++i) add(s, static_cast<int>(g) * 3 + i);
    }
  }

  void add(const Shape& s, int seed) {
    host_a.push_back(numbers<T>(s.size_a(), seed));
    host_b.push_back(numbers<T>(s.size_b() + 1, seed + 1));
    a.push_back(std::make_unique<DeviceArray<T>>(host_a.back()));
    b.push_back(std::make_unique<DeviceArray<T>>(host_b.back()));
    c.push_back(std::make_unique<DeviceArray<T>>(s.size_c() + 1));
    pointers[0].push_back(a.back()->data());
    pointers[1].push_back(b.back()->data());
    pointers[2].push_back(c.back()->data());
  }

  cublasStatus_t multiply(cublasHandle_t handle, void* const* pa, void* const* pb, void* const* pc, cudaDataType in,
                          cudaDataType out) const {
    return cublasGemmGroupedBatchedEx(handle, op_a.data(), op_b.data(), m.data(), n.data(), k.data(), alpha.data(), pa,
                                      in, lda.data(), pb, in, ldb.data(), beta.data(), pc, out, ldc.data(),
                                      static_cast<int>(shapes.size()), sizes.data(), CUBLAS_COMPUTE_32F);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("Groups of products agree with their definition under every schedule", "", float, __nv_bfloat16) {
  for (const Schedule& schedule : all_schedules()) {
    Session session(schedule.streams, schedule.seed);
    const Groups<TestType> groups;
    DeviceArray<void*> a(groups.pointers[0]);
    DeviceArray<void*> b(groups.pointers[1]);
    DeviceArray<void*> c(groups.pointers[2]);
    {
      Stream stream;
      Handle handle(stream);
      REQUIRE(groups.multiply(handle, a.data(), b.data(), c.data(), type_of<TestType>, type_of<TestType>) ==
              CUBLAS_STATUS_SUCCESS);
      stream.wait();
    }
    INFO(reports());
    REQUIRE(emulator::errors().empty());
    std::size_t p = 0;
    for (std::size_t g = 0; g < groups.shapes.size(); ++g) {
      const Shape& s = groups.shapes[g];
      for (int i = 0; i < groups.sizes[g]; ++i, ++p) {
        for (int row = 0; row < s.m; ++row) {
          for (int column = 0; column < s.n; ++column) {
            const double found = number(groups.c[p]->data()[row + column * s.ldc()]);
            REQUIRE(found == expected(s, groups.host_a[p], groups.host_b[p], std::vector<TestType>(), row, column,
                                      static_cast<double>(g + 1), 0));
          }
        }
      }
    }
  }
}

TEST_CASE("A grouped product of bf16 inputs with fp32 output is not supported, as in cuBLAS") {
  Session session;
  const Groups<__nv_bfloat16> groups;
  DeviceArray<void*> a(groups.pointers[0]);
  Stream stream;
  Handle handle(stream);
  REQUIRE(groups.multiply(handle, a.data(), a.data(), a.data(), CUDA_R_16BF, CUDA_R_32F) ==
          CUBLAS_STATUS_NOT_SUPPORTED);
  REQUIRE(std::string(cublasGetStatusName(CUBLAS_STATUS_NOT_SUPPORTED)) == "CUBLAS_STATUS_NOT_SUPPORTED");
}

TEST_CASE("Pointer arrays of a grouped product must be device memory, and written before it") {
  Session session;
  const Groups<float> groups;
  DeviceArray<void*> b(groups.pointers[1]);
  DeviceArray<void*> c(groups.pointers[2]);
  Stream stream;
  Handle handle(stream);
  REQUIRE(groups.multiply(handle, groups.pointers[0].data(), b.data(), c.data(), CUDA_R_32F, CUDA_R_32F) ==
          CUBLAS_STATUS_EXECUTION_FAILED);
  REQUIRE(num_reported("cublas", {"cublasGemmGroupedBatchedEx", "array of A pointers in device memory"}) == 1);
  // An upload on another stream that nothing waits for.
  DeviceArray<void*> a(groups.pointers[0].size());
  Stream other;
  REQUIRE(cudaMemcpyAsync(a.data(), groups.pointers[0].data(), a.num_bytes(), cudaMemcpyHostToDevice, other) ==
          cudaSuccess);
  REQUIRE(groups.multiply(handle, a.data(), b.data(), c.data(), CUDA_R_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  REQUIRE(num_reported("ordering", {"cudaMemcpyAsync (host to device)", "cublasGemmGroupedBatchedEx"}) == 1);
}

TEST_CASE("Operands of a grouped product that are not aligned as the manual demands are reported") {
  Session session;
  Groups<__nv_bfloat16> groups;
  // k = 8 elements of 2 bytes ask for 16 bytes.
  groups.pointers[1][1] = static_cast<__nv_bfloat16*>(groups.pointers[1][1]) + 1;
  DeviceArray<void*> a(groups.pointers[0]);
  DeviceArray<void*> b(groups.pointers[1]);
  DeviceArray<void*> c(groups.pointers[2]);
  Stream stream;
  Handle handle(stream);
  REQUIRE(groups.multiply(handle, a.data(), b.data(), c.data(), CUDA_R_16BF, CUDA_R_16BF) == CUBLAS_STATUS_SUCCESS);
  stream.wait();
  REQUIRE(num_reported("cublas", {"required B aligned to 16 bytes"}) == 1);
}
