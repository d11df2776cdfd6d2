#include "kernels/cuda_device.h"

#include <cublas_v2.h>

#include <string>

#include "kernels/cuda/cuda_allocator.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/handles.h"
#include "kernels/cuda/rank_parts.h"
#include "util/error.h"

// The build names what the headers of this directory cannot know.
#if !defined(ARTEL_NCCL_VERSION) || !defined(ARTEL_CUDA_ARCHITECTURES)
#error "kernels/cuda/cuda_device.cpp requires ARTEL_NCCL_VERSION and ARTEL_CUDA_ARCHITECTURES, texts for --version"
#endif

namespace artel {
namespace {

constexpr const char* where = "device";
constexpr int least_major = 8;

// 13000 is 13.0.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int attribute(cudaDeviceAttr name, int index) {
  int value = 0;
  cuda::check(where, "cudaDeviceGetAttribute", cudaDeviceGetAttribute(&value, name, index));
  return value;
}

// Drivers serve every runtime of their major version, and older ones.
void check_driver(int driver) {
  constexpr int least = CUDART_VERSION / 1000 * 1000;
  if (driver < least) {
    fail(where, "required a driver for CUDA " + version_text(least) + " or newer, found one for CUDA " +
                    version_text(driver) + "; update NVIDIA's driver, or use train.device: cpu");
  }
}

// 0 without a driver.
int driver_version() {
  int version = 0;
  cuda::check(where, "cudaDriverGetVersion", cudaDriverGetVersion(&version));
  return version;
}

std::string checked_name(int index) {
  cudaDeviceProp properties{};
  cuda::check(where, "cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, index));
  const int major = attribute(cudaDevAttrComputeCapabilityMajor, index);
  const int minor = attribute(cudaDevAttrComputeCapabilityMinor, index);
  if (major < least_major) {
    fail(where, "required a GPU of compute capability " + std::to_string(least_major) + ".0 or newer, found " +
                    properties.name + " with " + std::to_string(major) + "." + std::to_string(minor) +
                    "; use train.device: cpu, or choose another GPU with CUDA_VISIBLE_DEVICES");
  }
  return properties.name;
}

class Gpu final : public CudaDevice {
 public:
  // The name is made first: the checks come before anything is put on the GPU.
  explicit Gpu(int index)
      : name_(checked_name(index)), allocator_(stream_.get(), wait_), backend_(stream_.get(), allocator_, wait_) {}

  Allocator& allocator() override { return allocator_; }
  Backend& backend() override { return backend_; }
  const std::string& name() const override { return name_; }
  void* compute_stream() override { return stream_.get(); }
  void reduce_rank_parts(void* stream, const RankParts& parts, void* out) override {
    cuda::reduce_rank_parts(static_cast<cudaStream_t>(stream), parts, out);
  }
  void set_wait_poll(std::function<void()> poll) override { wait_.set_poll(std::move(poll)); }

 private:
  std::string name_;
  cuda::Stream stream_;
  cuda::HostWait wait_;
  cuda::CudaAllocator allocator_;
  CudaBackend backend_;
};

}  // namespace

int num_cuda_devices() {
  const int driver = driver_version();
  if (driver == 0) return 0;
  check_driver(driver);
  int num = 0;
  const cudaError_t status = cudaGetDeviceCount(&num);
  if (status == cudaErrorNoDevice) {
    static_cast<void>(cudaGetLastError());  // an answer here, not an error of what comes next
    return 0;
  }
  cuda::check(where, "cudaGetDeviceCount", status);
  return num;
}

std::string cuda_build_text() {
  return "CUDA " + version_text(CUDART_VERSION) + ", cuBLAS " + std::to_string(CUBLAS_VER_MAJOR) + "." +
         std::to_string(CUBLAS_VER_MINOR) + ", NCCL " ARTEL_NCCL_VERSION ", architectures " ARTEL_CUDA_ARCHITECTURES;
}

std::unique_ptr<CudaDevice> make_cuda_device(int index) {
  const int num = num_cuda_devices();
  if (index < 0 || index >= num) {
    fail(where, "required GPU " + std::to_string(index) + ", counted from 0, found " + std::to_string(num) + " GPUs");
  }
  cuda::check(where, "cudaSetDevice", cudaSetDevice(index));
  return std::make_unique<Gpu>(index);
}

}  // namespace artel
