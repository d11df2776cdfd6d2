#include "kernels/cpu/cpu_backend.h"

#include <cstring>
#include <string>

#include "kernels/checks/checks.h"
#include "util/error.h"

namespace artel {
namespace {

class FinishedCopy final : public HostCopy {
 public:
  void wait() override {}
};

}  // namespace

CpuBackend::CpuBackend(ThreadPool& pool, Allocator& allocator, CpuOptions options)
    : pool_(pool),
      allocator_(allocator),
      isa_(options.isa),
      gemm_(pool.num_threads()),
      scratch_(static_cast<std::size_t>(pool.num_threads()) * num_scratch_slots) {
  if (allocator.device() != Device::cpu) {
    fail("cpu_backend",
         std::string("required an allocator of host memory, found one of ") + device_name(allocator.device()));
  }
  if (options.isa > cpu::detect_isa()) {
    fail("cpu_backend", std::string("required an instruction set that this processor has (up to ") +
                            cpu::isa_name(cpu::detect_isa()) + "), found " + cpu::isa_name(options.isa));
  }
}

CpuBackend::~CpuBackend() = default;

float* CpuBackend::scratch(int worker, int slot, std::int64_t num_floats) {
  Tensor& buffer = scratch_[static_cast<std::size_t>(worker) * num_scratch_slots + static_cast<std::size_t>(slot)];
  if (!buffer.defined() || buffer.numel() < num_floats) {
    buffer = Tensor();  // back to the cache first, so that the old and the new size are not held together
    buffer = Tensor::empty(allocator_, {num_floats}, DType::f32);
  }
  return buffer.data<float>();
}

void CpuBackend::upload(const void* host, Out y) {
  check_contiguous("upload", "y", y);
  if (y.nbytes() > 0) std::memcpy(y.raw(), host, y.nbytes());  // the pointer of an empty vector may be null
}

void CpuBackend::download(In x, void* host) {
  check_contiguous("download", "x", x);
  if (x.nbytes() > 0) std::memcpy(host, x.raw(), x.nbytes());
}

std::unique_ptr<HostCopy> CpuBackend::start_download(In x, void* host) {
  check_contiguous("start_download", "x", x);
  download(x, host);
  return std::make_unique<FinishedCopy>();
}

}  // namespace artel
