// kernels/cuda_device.h in a build without CUDA.

#include "kernels/cuda_device.h"
#include "util/error.h"

namespace artel {

int num_cuda_devices() {
  return 0;
}

std::string cuda_build_text() {
  return {};
}

std::unique_ptr<CudaDevice> make_cuda_device(int) {
  fail("device", "required a build with CUDA (-DARTEL_CUDA=ON), found one without; use train.device: cpu or auto");
}

}  // namespace artel
