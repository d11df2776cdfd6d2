#include "kernels/cpu/cpu_backend.h"
#include "support/guarded_allocator.h"
#include "support/test_device.h"

namespace artel {
namespace {

class CpuParts final : public DeviceParts {
 public:
  CpuParts(int num_threads, cpu::Isa isa)
      : pool_(num_threads, &cpu::Gemm::prepare_thread), backend_(pool_, allocator_, CpuOptions{isa}) {}

  Allocator& allocator() override { return allocator_; }
  ThreadPool& pool() override { return pool_; }
  Backend& backend() override { return backend_; }
  std::string find_damage() override { return allocator_.find_damage(); }

 private:
  GuardedAllocator allocator_;
  ThreadPool pool_;
  CpuBackend backend_;
};

}  // namespace

std::unique_ptr<DeviceParts> make_device_parts(int num_threads) {
  return std::make_unique<CpuParts>(num_threads, cpu::detect_isa());
}

std::vector<std::function<TestDevice()>> all_devices() {
  std::vector<std::function<TestDevice()>> devices;
  for (const cpu::Isa isa : {cpu::Isa::generic, cpu::Isa::avx2, cpu::Isa::avx512}) {
    if (isa > cpu::detect_isa()) continue;
    devices.push_back([isa] {
      return TestDevice(std::make_unique<CpuParts>(2, isa), std::string("instruction set ") + cpu::isa_name(isa),
                        false);
    });
  }
  return devices;
}

std::vector<std::function<TestDevice()>> equal_devices() {
  std::vector<std::function<TestDevice()>> devices;
  for (const int num_threads : {1, 2, 3, 4}) {
    devices.push_back([num_threads] {
      return TestDevice(make_device_parts(num_threads), std::to_string(num_threads) + " threads", false);
    });
  }
  return devices;
}

}  // namespace artel
