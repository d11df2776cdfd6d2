#include <cublas_v2.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "emulator/cublas_gemm.h"
#include "emulator/cublas_types.h"
#include "emulator/heap.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasMath_t math_mode = CUBLAS_DEFAULT_MATH;
  cublasPointerMode_t pointer_mode = CUBLAS_POINTER_MODE_HOST;
  void* workspace = nullptr;  // null: cuBLAS's own
  std::size_t workspace_bytes = 0;
};

using namespace emulator;

namespace {

std::vector<std::unique_ptr<cublasContext>>& contexts() {
  static std::vector<std::unique_ptr<cublasContext>> instance;
  return instance;
}

bool is_context(cublasHandle_t handle) {
  return std::any_of(contexts().begin(), contexts().end(), [&](const auto& c) { return c.get() == handle; });
}

bool is_operation(cublasOperation_t operation) {
  return operation == CUBLAS_OP_N || operation == CUBLAS_OP_T || operation == CUBLAS_OP_C;
}

/// What one product is about, of a single or a grouped call.
struct Problem {
  cublasOperation_t transpose_a;
  cublasOperation_t transpose_b;
  int m, n, k;
  int lda, ldb, ldc;
};

bool is_valid(const Problem& p) {
  if (!is_operation(p.transpose_a) || !is_operation(p.transpose_b) || p.m < 0 || p.n < 0 || p.k < 0) return false;
  const int rows_a = p.transpose_a == CUBLAS_OP_N ? p.m : p.k;
  const int rows_b = p.transpose_b == CUBLAS_OP_N ? p.k : p.n;
  return p.lda >= std::max(1, rows_a) && p.ldb >= std::max(1, rows_b) && p.ldc >= std::max(1, p.m);
}

struct Types {
  cudaDataType a, b, c;
  cublasComputeType_t compute;
};

double scalar(const void* values, int i, const Types& types) {
  return sums_in_double(types.compute) ? static_cast<const double*>(values)[i]
                                       : static_cast<double>(static_cast<const float*>(values)[i]);
}

Product make_product(const Problem& p, const Types& types, double alpha, double beta) {
  const bool transpose_a = p.transpose_a != CUBLAS_OP_N;
  const bool transpose_b = p.transpose_b != CUBLAS_OP_N;
  Product product{transpose_a, transpose_b, p.m, p.n, p.k, alpha, beta, {}, {}, {}, sums_in_double(types.compute)};
  product.a = {nullptr, types.a, transpose_a ? p.k : p.m, transpose_a ? p.m : p.k, p.lda, "A"};
  product.b = {nullptr, types.b, transpose_b ? p.n : p.k, transpose_b ? p.k : p.n, p.ldb, "B"};
  product.c = {nullptr, types.c, p.m, p.n, p.ldc, "C"};
  return product;
}

/// Reports what the table has and the emulator does not.
bool check_emulated(const char* call, cublasHandle_t handle, const Types& types) {
  if (!is_gemm_emulated(types.compute, types.a)) {
    error("cublas", "%s: this combination of types is cuBLAS's but not the emulator's", call);
    return false;
  }
  if (handle->pointer_mode != CUBLAS_POINTER_MODE_HOST) {
    error("cublas", "%s: alpha and beta in device memory are not emulated", call);
    return false;
  }
  return true;
}

void add_workspace(cublasHandle_t handle, std::vector<MemoryUse>& uses) {
  if (handle->workspace != nullptr) uses.push_back({handle->workspace, handle->workspace_bytes, true, "workspace"});
}

cublasStatus_t status_of(cudaError_t status) {
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

const void* offset(const void* p, long long num_elements, cudaDataType type) {
  return static_cast<const char*>(p) + num_elements * static_cast<long long>(element_bytes(type));
}

/// A single product or a batch of them with strides.
struct Batch {
  const void* a;
  const void* b;
  void* c;
  long long stride_a, stride_b, stride_c;
  int num_products;
};

cublasStatus_t gemm(const char* call, cublasHandle_t handle, const Problem& problem, const Types& types,
                    const void* alpha, const void* beta, const Batch& batch) {
  if (!is_context(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!gemm_ex_supports(types.compute, types.a, types.b, types.c)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (!is_valid(problem) || batch.num_products < 0 || alpha == nullptr || beta == nullptr) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (!check_emulated(call, handle, types)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const Product common = make_product(problem, types, scalar(alpha, 0, types), scalar(beta, 0, types));
  const long long extent_c = static_cast<long long>(problem.ldc) * (problem.n - 1) + problem.m;
  if (!common.is_empty() && batch.num_products > 1 && std::abs(batch.stride_c) < extent_c) {
    error("cublas", "%s: required a stride of C of at least %lld elements, so that products lie apart, found %lld",
          call, extent_c, batch.stride_c);
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  std::vector<Product> products;
  std::vector<MemoryUse> uses;
  for (int i = 0; i < batch.num_products && !common.is_empty(); ++i) {
    Product product = common;
    product.a.data = offset(batch.a, batch.stride_a * i, types.a);
    product.b.data = offset(batch.b, batch.stride_b * i, types.b);
    product.c.data = offset(batch.c, batch.stride_c * i, types.c);
    if (!check_product(call, product)) return CUBLAS_STATUS_EXECUTION_FAILED;
    const auto own = product.uses();
    uses.insert(uses.end(), own.begin(), own.end());
    products.push_back(product);
  }
  if (products.empty()) return CUBLAS_STATUS_SUCCESS;
  add_workspace(handle, uses);
  return status_of(submit(handle->stream, {call, nullptr, 0}, std::move(uses), [products = std::move(products)] {
    for (const Product& product : products) compute_product(product);
    return true;
  }));
}

/// All pointers of a grouped call with 16-bit inputs or a fast compute type, by the manual's rule.
bool is_group_aligned(const Product& product, cublasComputeType_t compute) {
  const std::size_t width = element_bytes(product.a.type);
  if (width != 2 && !is_fast(compute)) return true;
  const std::size_t row_bytes = static_cast<std::size_t>(product.k) * width;
  const std::size_t alignment = row_bytes % 16 == 0 ? 16 : row_bytes % 4 == 0 ? 4 : 1;
  for (const Matrix* const matrix : {&product.a, &product.b, &product.c}) {
    if (reinterpret_cast<std::uintptr_t>(matrix->data) % alignment == 0) continue;
    error("cublas",
          "cublasGemmGroupedBatchedEx: required %s aligned to %zu bytes, since k * element size is %zu, found "
          "address %p",
          matrix->name, alignment, row_bytes, matrix->data);
    return false;
  }
  return true;
}

/// Pointers to the operands of all products, arrays in device memory.
struct PointerArrays {
  const void* const* a;
  const void* const* b;
  void* const* c;
};

bool run_grouped(const PointerArrays& arrays, std::vector<Product> products, cublasComputeType_t compute) {
  std::vector<MemoryUse> uses;
  for (std::size_t i = 0; i < products.size(); ++i) {
    Product& product = products[i];
    product.a.data = arrays.a[i];
    product.b.data = arrays.b[i];
    product.c.data = arrays.c[i];
    if (product.is_empty()) continue;
    if (!check_product("cublasGemmGroupedBatchedEx", product) || !is_group_aligned(product, compute)) return true;
    const auto own = product.uses();
    uses.insert(uses.end(), own.begin(), own.end());
  }
  if (!use_now(uses)) return true;
  for (const Product& product : products) compute_product(product);
  return true;
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  if (handle == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  make_heap();
  contexts().push_back(std::make_unique<cublasContext>());
  *handle = contexts().back().get();
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  if (!is_context(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  auto& all = contexts();
  all.erase(std::find_if(all.begin(), all.end(), [&](const auto& c) { return c.get() == handle; }));
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion_v2(cublasHandle_t, int* version) {
  if (version == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *version = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  if (!is_context(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (handle->workspace != nullptr) {
    error("cublas", "cublasSetStream takes away the workspace that cublasSetWorkspace gave: set the stream first");
    handle->workspace = nullptr;
  }
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetStream_v2(cublasHandle_t handle, cudaStream_t* stream) {
  if (!is_context(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  *stream = handle->stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, std::size_t bytes) {
  if (!is_context(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (reinterpret_cast<std::uintptr_t>(workspace) % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
  if (bytes > 0 && !is_device(workspace)) {
    error("cublas", "cublasSetWorkspace: required device memory, found host memory");
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  handle->workspace = bytes > 0 ? workspace : nullptr;
  handle->workspace_bytes = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  if (!is_context(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->math_mode = mode;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t* mode) {
  if (!is_context(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  *mode = handle->math_mode;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t mode) {
  if (!is_context(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->pointer_mode = mode;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transpose_a, cublasOperation_t transpose_b, int m,
                            int n, int k, const void* alpha, const void* a, cudaDataType a_type, int lda, const void* b,
                            cudaDataType b_type, int ldb, const void* beta, void* c, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t) {
  return gemm("cublasGemmEx", handle, {transpose_a, transpose_b, m, n, k, lda, ldb, ldc},
              {a_type, b_type, c_type, compute}, alpha, beta, {a, b, c, 0, 0, 0, 1});
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transpose_a,
                                          cublasOperation_t transpose_b, int m, int n, int k, const void* alpha,
                                          const void* a, cudaDataType a_type, int lda, long long stride_a,
                                          const void* b, cudaDataType b_type, int ldb, long long stride_b,
                                          const void* beta, void* c, cudaDataType c_type, int ldc, long long stride_c,
                                          int num_products, cublasComputeType_t compute, cublasGemmAlgo_t) {
  return gemm("cublasGemmStridedBatchedEx", handle, {transpose_a, transpose_b, m, n, k, lda, ldb, ldc},
              {a_type, b_type, c_type, compute}, alpha, beta, {a, b, c, stride_a, stride_b, stride_c, num_products});
}

cublasStatus_t cublasGemmGroupedBatchedEx(cublasHandle_t handle, const cublasOperation_t transpose_a[],
                                          const cublasOperation_t transpose_b[], const int m[], const int n[],
                                          const int k[], const void* alpha, const void* const a[], cudaDataType a_type,
                                          const int lda[], const void* const b[], cudaDataType b_type, const int ldb[],
                                          const void* beta, void* const c[], cudaDataType c_type, const int ldc[],
                                          int num_groups, const int group_sizes[], cublasComputeType_t compute) {
  constexpr const char* call = "cublasGemmGroupedBatchedEx";
  if (!is_context(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  const Types types{a_type, b_type, c_type, compute};
  if (!grouped_gemm_supports(compute, a_type, b_type, c_type)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (handle->pointer_mode != CUBLAS_POINTER_MODE_HOST) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (num_groups < 0) return CUBLAS_STATUS_INVALID_VALUE;
  for (const void* const array :
       {static_cast<const void*>(transpose_a), static_cast<const void*>(transpose_b), static_cast<const void*>(m),
        static_cast<const void*>(n), static_cast<const void*>(k), alpha, static_cast<const void*>(lda),
        static_cast<const void*>(ldb), beta, static_cast<const void*>(ldc), static_cast<const void*>(group_sizes)}) {
    if (array == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
    if (is_device(array)) {
      error("cublas",
            "%s: required sizes, leading dimensions, operations and scalars of groups in host memory, found "
            "device memory",
            call);
      return CUBLAS_STATUS_INVALID_VALUE;
    }
  }
  // Arrays of the host are read before the call returns, those of the device when the operation runs.
  std::vector<Product> products;
  for (int g = 0; g < num_groups; ++g) {
    const Problem problem{transpose_a[g], transpose_b[g], m[g], n[g], k[g], lda[g], ldb[g], ldc[g]};
    if (!is_valid(problem) || group_sizes[g] < 0) return CUBLAS_STATUS_INVALID_VALUE;
    const Product product = make_product(problem, types, scalar(alpha, g, types), scalar(beta, g, types));
    products.insert(products.end(), static_cast<std::size_t>(group_sizes[g]), product);
  }
  if (products.empty()) return CUBLAS_STATUS_SUCCESS;
  const std::size_t array_bytes = products.size() * sizeof(void*);
  std::vector<MemoryUse> uses{{a, array_bytes, false, "array of A pointers"},
                              {b, array_bytes, false, "array of B pointers"},
                              {c, array_bytes, false, "array of C pointers"}};
  for (const MemoryUse& use : uses) {
    if (is_device(use.begin)) continue;
    error("cublas", "%s: required the %s in device memory, found host memory", call, use.what);
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  add_workspace(handle, uses);
  return status_of(submit(handle->stream, {call, nullptr, 0}, std::move(uses),
                          [arrays = PointerArrays{a, b, c}, products = std::move(products), compute] {
                            return run_grouped(arrays, products, compute);
                          }));
}

const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "unknown cublasStatus_t";
  }
}

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "the operation completed successfully";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "the function failed to launch on the GPU";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "the functionality requested is not supported";
    default:
      return "unknown";
  }
}

}  // extern "C"
