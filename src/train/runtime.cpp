#include "train/runtime.h"

#include <sched.h>

#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "util/error.h"
#include "util/host.h"

namespace artel {

namespace {

cpu_set_t processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_SET(0, &set);
  return set;
}

// Ranks of `world` that may run on exactly the processors of this one, this one included: a launcher that binds ranks
// gives each its own, one that does not gives all of a host the same.
int ranks_on_these_processors(Communicator& world) {
  const cpu_set_t set = processors();
  std::string place = host_name() + " ";
  for (int i = 0; i < CPU_SETSIZE; ++i) place += CPU_ISSET(i, &set) ? '1' : '0';
  const std::vector<std::string> places = world.all_gather_text(place, Purpose::control);
  return static_cast<int>(std::count(places.begin(), places.end(), place));
}

}  // namespace

int available_cores() {
  const cpu_set_t set = processors();
  return std::max(1, CPU_COUNT(&set));
}

Runtime::Runtime(const TrainConfig& config, Log& log) : Runtime(config, log, make_self_communicator()) {}

Runtime::Runtime(const TrainConfig& config, Log& log, std::unique_ptr<Communicator> self)
    : Runtime(config, log, *self) {
  self_ = std::move(self);
}

Runtime::Runtime(const TrainConfig& config, Log& log, Communicator& world) : world_(&world) {
  if (config.device == "cuda") {
    fail("train.device", "required a build with CUDA for device: cuda, found one without; use device: cpu or auto");
  }
  const int share = std::max(1, available_cores() / ranks_on_these_processors(world));
  const int threads = config.threads > 0 ? static_cast<int>(config.threads) : share;
  allocator_ = std::make_unique<HostAllocator>();
  pool_ = std::make_unique<ThreadPool>(threads, cpu::Gemm::prepare_thread);
  backend_ = std::make_unique<CpuBackend>(*pool_, *allocator_);
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
