// Which device a job takes. GPUs are what this file says they are, and ranks with GPUs talk as ranks without: it is
// linked in the place of kernels/no_cuda.cpp and comm/no_nccl.cpp.

#include <algorithm>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "comm/nccl_communicator.h"
#include "comm/thread_communicator.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda_device.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "train/runtime.h"

namespace artel {
namespace {

struct Machine {
  std::string build_text = "CUDA";
  int num_gpus = 0;
  std::mutex mutex;
  std::vector<int> taken;
  std::vector<std::string> device_texts;  ///< of the runtimes
};
Machine* machine = nullptr;         // of the test case that runs
thread_local bool has_gpus = true;  // of the rank that this thread is

class FakeGpu final : public CudaDevice {
 public:
  explicit FakeGpu(int index) : name_("GPU " + std::to_string(index)) {}
  Allocator& allocator() override { return allocator_; }
  Backend& backend() override { return backend_; }
  const std::string& name() const override { return name_; }
  void* compute_stream() override { return nullptr; }
  void reduce_rank_parts(void*, const RankParts&, void*) override {}
  void set_wait_poll(std::function<void()>) override {}

 private:
  std::string name_;
  HostAllocator allocator_;
  ThreadPool pool_{1, &cpu::Gemm::prepare_thread};
  CpuBackend backend_{pool_, allocator_};
};

/// Runs `body` as ranks of one host; returns the GPUs that they took, in ascending order.
std::vector<int> run_ranks(Machine& with, int num_ranks, const std::string& device) {
  machine = &with;
  run_thread_ranks(num_ranks, {}, [&](Communicator& world) {
    TrainConfig config;
    config.device = device;
    config.threads = 1;
    Log log("", Screen::none);
    const Runtime runtime(config, log, world);
    const std::lock_guard lock(with.mutex);
    with.device_texts.push_back(runtime.device_text());
  });
  std::sort(with.taken.begin(), with.taken.end());
  return with.taken;
}

}  // namespace

int num_cuda_devices() {
  return has_gpus ? machine->num_gpus : 0;
}

std::string cuda_build_text() {
  return machine->build_text;
}

std::unique_ptr<CudaDevice> make_cuda_device(int index) {
  const std::lock_guard lock(machine->mutex);
  machine->taken.push_back(index);
  return std::make_unique<FakeGpu>(index);
}

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, const NcclDevice&) {
  return host.split(0, host.rank(), "world");
}

namespace {

using Indices = std::vector<int>;

TEST_CASE("auto takes a GPU if the build and the machine have one, else the CPU") {
  Machine none;
  CHECK(run_ranks(none, 1, "auto") == Indices{});
  CHECK(none.device_texts == std::vector<std::string>{"cpu"});
  Machine two;
  two.num_gpus = 2;
  CHECK(run_ranks(two, 1, "auto") == Indices{0});
  CHECK(contains(two.device_texts.at(0), "(GPU 0)"));
  Machine without_build;
  without_build.build_text = "";
  without_build.num_gpus = 2;
  CHECK(run_ranks(without_build, 2, "auto") == Indices{});
}

TEST_CASE("device: cpu leaves GPUs alone") {
  Machine two;
  two.num_gpus = 2;
  CHECK(run_ranks(two, 3, "cpu") == Indices{});
}

TEST_CASE("every rank of a host takes a GPU of its own, and more ranks than GPUs are refused") {
  Machine three;
  three.num_gpus = 3;
  CHECK(run_ranks(three, 2, "cuda") == Indices{0, 1});
  Machine two;
  two.num_gpus = 2;
  for (const char* device : {"auto", "cuda"}) {
    const std::string text = error_text([&] { run_ranks(two, 3, device); });
    CHECK(contains(text, "[train.device] required a GPU for each rank of a host, found 3 ranks and 2 GPUs on "));
  }
}

TEST_CASE("device: cuda without a GPU says whether the build or the machine lacks it") {
  Machine without_build;
  without_build.build_text = "";
  CHECK(contains(error_text([&] { run_ranks(without_build, 1, "cuda"); }),
                 "[train.device] required a build with CUDA (-DARTEL_CUDA=ON) for device: cuda, found one without"));
  Machine without_gpu;
  CHECK(contains(error_text([&] { run_ranks(without_gpu, 1, "cuda"); }),
                 "[train.device] required a GPU with NVIDIA's driver for device: cuda, found none on "));
}

TEST_CASE("sizes of heads that the device does not take are refused before a run begins") {
  Machine one;
  one.num_gpus = 1;
  machine = &one;
  Config config;
  const auto refusal = [&config](const char* device, std::int64_t head_dim) {
    config.train.device = device;
    config.model.head_dim = head_dim;
    return error_text([&] { check_device(config); });
  };
  for (const char* device : {"auto", "cuda"}) {
    config.train.device = device;
    for (const int head_dim : {32, 64, 96, 128}) {
      config.model.head_dim = head_dim;
      CHECK_NOTHROW(check_device(config));
    }
    CHECK(refusal(device, 48) ==
          "[model.head_dim] required head_dim of 32, 64, 96 or 128 on a GPU, found 48; change model.head_dim");
  }
  config.train.device = "cpu";
  for (const int head_dim : {2, 48, 256}) {
    config.model.head_dim = head_dim;
    CHECK_NOTHROW(check_device(config));
  }
  CHECK(refusal("cpu", 258) ==
        "[model.head_dim] required head_dim of at most 256 on a CPU, found 258; change model.head_dim");
  one.num_gpus = 0;
  CHECK(contains(refusal("auto", 258), "on a CPU"));
  CHECK(contains(refusal("cuda", 64), "[train.device] required a GPU"));
  CHECK(one.taken.empty());
}

TEST_CASE("ranks with GPUs beside ranks without are refused") {
  Machine one;
  one.num_gpus = 2;
  machine = &one;
  const std::string text = error_text([] {
    run_thread_ranks(2, {}, [](Communicator& world) {
      has_gpus = world.rank() == 0;
      TrainConfig config;
      Log log("", Screen::none);
      const Runtime runtime(config, log, world);
    });
  });
  CHECK(
      contains(text, "[train.device] required GPUs on the hosts of all ranks or of none, found 1 of 2 ranks with one"));
  CHECK(one.taken.empty());
}

}  // namespace
}  // namespace artel
