#include "train/runtime.h"

#include <sched.h>

#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "util/error.h"

namespace artel {

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

Runtime::Runtime(const TrainConfig& config, Log& log) {
  if (config.device == "cuda") {
    fail("train.device", "required a build with CUDA for device: cuda, found one without; use device: cpu or auto");
  }
  const int threads = config.threads > 0 ? static_cast<int>(config.threads) : available_cores();
  allocator_ = std::make_unique<HostAllocator>();
  pool_ = std::make_unique<ThreadPool>(threads, cpu::Gemm::prepare_thread);
  backend_ = std::make_unique<CpuBackend>(*pool_, *allocator_);
  world_ = make_self_communicator();
  context_ = std::make_unique<Context>(Context{*allocator_, *backend_, *pool_});
  if (config.precision == "bf16" || (config.precision == "auto" && backend_->has_native_bf16())) dtype_ = DType::bf16;
  if (dtype_ == DType::bf16 && !backend_->has_native_bf16()) {
    log.warn(
        "precision: bf16 on a processor without bf16 products: they run through fp32, which is slower than fp32 "
        "itself");
  }
}

Runtime::~Runtime() = default;

}  // namespace artel
