#include "kernels/cuda_device.h"
#include "support/test_device.h"

namespace artel {
namespace {

class CudaParts final : public DeviceParts {
 public:
  Allocator& allocator() override { return device_->allocator(); }
  ThreadPool& pool() override { return pool_; }
  Backend& backend() override { return device_->backend(); }
  const std::string& name() const { return device_->name(); }

 private:
  ThreadPool pool_{1};
  std::unique_ptr<CudaDevice> device_ = make_cuda_device(0);
};

TestDevice make(const std::string& about, bool aligned) {
  auto parts = std::make_unique<CudaParts>();
  std::string name = parts->name() + about;
  return TestDevice(std::move(parts), std::move(name), aligned);
}

}  // namespace

std::unique_ptr<DeviceParts> make_device_parts(int /*num_threads*/) {
  return std::make_unique<CudaParts>();
}

std::vector<std::function<TestDevice()>> all_devices() {
  return {[] { return make(", unaligned tensors", false); }, [] { return make(", aligned tensors", true); }};
}

std::vector<std::function<TestDevice()>> equal_devices() {
  return {[] { return make(", first run", false); }, [] { return make(", second run", false); },
          [] { return make(", third run", false); }};
}

}  // namespace artel
