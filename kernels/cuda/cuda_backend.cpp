#include "kernels/cuda/cuda_backend.h"

#include <string>

#include "kernels/checks/checks.h"
#include "kernels/cuda/cublas_handle.h"
#include "kernels/cuda/staging.h"
#include "util/error.h"

namespace artel {

CudaBackend::CudaBackend(cudaStream_t stream, Allocator& allocator, const cuda::HostWait& wait)
    : stream_(stream),
      allocator_(allocator),
      uploads_(std::make_unique<cuda::UploadRing>(stream, wait)),
      downloads_(std::make_unique<cuda::Downloads>(stream, wait)) {
  if (allocator.device() != Device::cuda) {
    fail("cuda_backend",
         std::string("required an allocator of GPU memory, found one of ") + device_name(allocator.device()));
  }
}

CudaBackend::~CudaBackend() {
  static_cast<void>(cudaStreamSynchronize(stream_));  // copies under way use memory that goes now
}

void* CudaBackend::scratch(int slot, std::int64_t num_bytes) {
  constexpr std::int64_t alignment = 256;
  Tensor& buffer = scratch_[static_cast<std::size_t>(slot)];
  if (!buffer.defined() || buffer.numel() * 4 < num_bytes) {
    buffer = Tensor();  // back to the cache first, so that the old and the new size are not held together
    const std::int64_t rounded = (num_bytes + alignment - 1) / alignment * alignment;
    buffer = Tensor::empty(allocator_, {rounded / 4}, DType::f32);
  }
  return buffer.raw();
}

const cuda::CublasHandle& CudaBackend::cublas() {
  if (cublas_ == nullptr) cublas_ = std::make_unique<cuda::CublasHandle>(stream_, allocator_);
  return *cublas_;
}

void CudaBackend::upload(const void* host, Out y) {
  check_contiguous("upload", "y", y);
  uploads_->upload(host, y.raw(), y.nbytes());
}

void CudaBackend::download(In x, void* host) {
  check_contiguous("download", "x", x);
  downloads_->download(x.raw(), host, x.nbytes());
}

std::unique_ptr<HostCopy> CudaBackend::start_download(In x, void* host) {
  check_contiguous("start_download", "x", x);
  return std::make_unique<cuda::Downloads::Copy>(*downloads_, x.raw(), host, x.nbytes());
}

}  // namespace artel
