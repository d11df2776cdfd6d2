#pragma once

#include <cublas_v2.h>

#include "core/tensor.h"

namespace artel::cuda {

/// Throws Error "[where] <call>: <cuBLAS's name and text>" unless status is success.
void check(const char* where, const char* call, cublasStatus_t status);

/// cuBLAS on one stream with a workspace of its own, without which results could differ between runs. f32 products
/// keep f32 (no TF32), and products of bf16 are summed in f32 throughout.
class CublasHandle {
 public:
  /// `allocator` and `stream` must outlive this.
  CublasHandle(cudaStream_t stream, Allocator& allocator);
  ~CublasHandle();
  CublasHandle(const CublasHandle&) = delete;
  CublasHandle& operator=(const CublasHandle&) = delete;

  cublasHandle_t get() const { return handle_; }

 private:
  Tensor workspace_;
  cublasHandle_t handle_ = nullptr;
};

}  // namespace artel::cuda
