#include "kernels/cuda/cublas_handle.h"

#include <string>

#include "util/error.h"

namespace artel::cuda {
namespace {

constexpr std::int64_t workspace_bytes = std::int64_t{32} << 20;  // what NVIDIA recommends for compute capability 9.0

}  // namespace

void check(const char* where, const char* call, cublasStatus_t status) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail(where, std::string(call) + ": " + cublasGetStatusName(status) + ", " + cublasGetStatusString(status));
}

CublasHandle::CublasHandle(cudaStream_t stream, Allocator& allocator)
    : workspace_(Tensor::empty(allocator, {workspace_bytes / 4}, DType::f32)) {
  constexpr const char* where = "cublas";
  check(where, "cublasCreate", cublasCreate(&handle_));
  try {
    check(where, "cublasSetStream", cublasSetStream(handle_, stream));
    // After the stream, whose setting takes the workspace back to the handle's own.
    check(where, "cublasSetWorkspace", cublasSetWorkspace(handle_, workspace_.raw(), workspace_bytes));
    check(where, "cublasSetMathMode",
          cublasSetMathMode(handle_, static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH |
                                                               CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)));
  } catch (...) {
    cublasDestroy(handle_);
    throw;
  }
}

CublasHandle::~CublasHandle() {
  cublasDestroy(handle_);
}

}  // namespace artel::cuda
