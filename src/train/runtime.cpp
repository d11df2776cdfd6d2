#include "train/runtime.h"

#include <sched.h>

#include <algorithm>

#include "comm/nccl_communicator.h"
#include "kernels/checks/attention.h"
#include "kernels/cpu/cpu_backend.h"
#include "util/error.h"
#include "util/host.h"
#include "util/text.h"

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

// What train.device is on this host for a process alone. Errors: a GPU that is required and not there.
Device device_here(const std::string& device) {
  const bool required = device == "cuda";
  if (required && cuda_build_text().empty()) {
    fail("train.device",
         "required a build with CUDA (-DARTEL_CUDA=ON) for device: cuda, found one without; use device: cpu or auto");
  }
  if (device == "cpu" || cuda_build_text().empty()) return Device::cpu;
  const bool found = num_cuda_devices() > 0;
  if (required && !found) {
    fail("train.device", concat("required a GPU with NVIDIA's driver for device: cuda, found none on ", host_name(),
                                "; use device: cpu or auto"));
  }
  return found ? Device::cuda : Device::cpu;
}

// The GPU of this rank, or none for the CPU. Ranks of a host take its GPUs in rank order.
std::unique_ptr<CudaDevice> take_gpu(const std::string& device, Communicator& world) {
  const int num_gpus = device_here(device) == Device::cuda ? num_cuda_devices() : 0;
  if (device == "cpu" || cuda_build_text().empty()) return nullptr;
  const std::string host = host_name();
  const std::vector<std::string> hosts = world.all_gather_text(host, Purpose::control);
  std::int64_t num_with_gpu = num_gpus > 0 ? 1 : 0;
  world.all_reduce_values({&num_with_gpu, 1}, Purpose::control);
  if (num_with_gpu == 0) return nullptr;
  if (num_with_gpu < world.size()) {
    fail("train.device", concat("required GPUs on the hosts of all ranks or of none, found ", num_with_gpu, " of ",
                                world.size(), " ranks with one", num_gpus > 0 ? "" : concat(", none on ", host),
                                "; use device: cpu, or other hosts"));
  }
  const auto local_rank = std::count(hosts.begin(), hosts.begin() + world.rank(), host);
  const auto num_local = std::count(hosts.begin(), hosts.end(), host);
  if (num_local > num_gpus) {
    fail("train.device", concat("required a GPU for each rank of a host, found ", num_local, " ranks and ", num_gpus,
                                num_gpus == 1 ? " GPU" : " GPUs", " on ", host,
                                "; start fewer ranks there, let the launcher show all GPUs to every rank, or use "
                                "device: cpu"));
  }
  return make_cuda_device(static_cast<int>(local_rank));
}

NcclDevice nccl_device(CudaDevice& gpu) {
  NcclDevice device;
  device.compute_stream = gpu.compute_stream();
  device.allocator = &gpu.allocator();
  device.reduce_parts = [&gpu](void* stream, const RankParts& parts, void* out) {
    gpu.reduce_rank_parts(stream, parts, out);
  };
  return device;
}

}  // namespace

void check_device(const Config& config) {
  check_head_dim("model.head_dim", device_here(config.train.device), config.model.head_dim);
}

bool auto_precision_is_bf16(const std::string& device) {
  if (device == "cuda") return true;
  if (device == "auto" && !cuda_build_text().empty() && num_cuda_devices() > 0) return true;
  ThreadPool pool(1, cpu::Gemm::prepare_thread);
  HostAllocator allocator;
  try {
    return CpuBackend(pool, allocator).has_native_bf16();
  } catch (const Error&) {
    return true;  // a build without products for the CPU trains on GPUs alone
  }
}

Runtime::Runtime(const TrainConfig& config, Log& log) : Runtime(config, log, make_self_communicator()) {}

Runtime::Runtime(const TrainConfig& config, Log& log, std::unique_ptr<Communicator> self)
    : Runtime(config, log, *self) {
  self_ = std::move(self);
}

Runtime::Runtime(const TrainConfig& config, Log& log, Communicator& world) : world_(&world) {
  gpu_ = take_gpu(config.device, world);
  const int share = std::max(1, available_cores() / ranks_on_these_processors(world));
  const int threads = config.threads > 0 ? static_cast<int>(config.threads) : share;
  pool_ = std::make_unique<ThreadPool>(threads, cpu::Gemm::prepare_thread);
  if (gpu_ != nullptr) {
    context_ = std::make_unique<Context>(Context{gpu_->allocator(), gpu_->backend(), *pool_});
    if (world.size() > 1) {
      gpus_ = make_nccl_communicator(world, nccl_device(*gpu_));
      world_ = gpus_.get();
      // So that a transfer that stands still, or an error of NCCL, ends a wait for what comes after it on the GPU.
      gpu_->set_wait_poll([this] { gpus_->poll(); });
    }
  } else {
    allocator_ = std::make_unique<HostAllocator>();
    backend_ = std::make_unique<CpuBackend>(*pool_, *allocator_);
    context_ = std::make_unique<Context>(Context{*allocator_, *backend_, *pool_});
  }
  const bool native_bf16 = context_->backend.has_native_bf16();
  if (config.precision == "bf16" || (config.precision == "auto" && native_bf16)) dtype_ = DType::bf16;
  if (dtype_ == DType::bf16 && !native_bf16) {
    log.warn(
        "precision: bf16 on a processor without bf16 products: they run through fp32, which is slower than fp32 "
        "itself");
  }
}

Runtime::~Runtime() {
  if (gpu_ != nullptr) gpu_->set_wait_poll({});
}

std::string Runtime::device_text() const {
  return gpu_ == nullptr ? device() : concat(device(), " (", gpu_->name(), ")");
}

}  // namespace artel
