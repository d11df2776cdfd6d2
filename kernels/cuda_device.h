#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/allocator.h"
#include "core/rank_parts.h"
#include "kernels/backend.h"

namespace artel {

// What the rest of Artel knows of GPUs. Defined by kernels/cuda/cuda_device.cpp, or by kernels/no_cuda.cpp in a build
// without CUDA; which one is a matter of linking.

/// One GPU with its memory, its streams and its kernels.
class CudaDevice {
 public:
  CudaDevice() = default;
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;
  virtual ~CudaDevice() = default;

  virtual Allocator& allocator() = 0;
  virtual Backend& backend() = 0;
  /// For people: "NVIDIA H100 80GB HBM3".
  virtual const std::string& name() const = 0;
  /// The cudaStream_t on which the backend puts its kernels, for what must be ordered with them (src/comm/nccl).
  virtual void* compute_stream() = 0;
  /// A ReduceRankParts.
  virtual void reduce_rank_parts(void* stream, const RankParts& parts, void* out) = 0;
  /// Called again and again while the host waits for the GPU; what it throws ends the wait. An empty one: the host
  /// waits in the driver, where nothing but the GPU ends it.
  virtual void set_wait_poll(std::function<void()> poll) = 0;
};

/// GPUs that this process can use; 0 without a driver, and in a build without CUDA.
int num_cuda_devices();

/// For --version: "CUDA 13.0, cuBLAS 13.0, NCCL 2.27, architectures 80 90 100"; empty in a build without CUDA.
std::string cuda_build_text();

/// The index-th GPU of this process. Errors: a build without CUDA; no such GPU; one below compute capability 8.0; a
/// driver too old.
std::unique_ptr<CudaDevice> make_cuda_device(int index);

}  // namespace artel
