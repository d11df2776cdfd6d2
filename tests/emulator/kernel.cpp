#include <algorithm>
#include <limits>
#include <numeric>

#include "emulator/execution.h"

namespace emulator {

MemoryChecker* memory_checker = nullptr;

namespace {

/// A launch takes fewer epochs than are left beyond this: one a block and one a barrier.
constexpr std::uint32_t last_epoch_of_launch = std::numeric_limits<std::uint32_t>::max() / 2;

void begin_epochs() {
  if (running.epoch > last_epoch_of_launch) {
    if (memory_checker != nullptr) memory_checker->forget_epochs();
    running.epoch = 0;
  }
  running.launch_begin = ++running.epoch;
}

std::vector<std::uint64_t> order_of_blocks(std::uint64_t num_blocks) {
  std::vector<std::uint64_t> order(num_blocks);
  std::iota(order.begin(), order.end(), std::uint64_t{0});
  if (config().order == Order::descending) std::reverse(order.begin(), order.end());
  if (config().order == Order::random) {
    for (std::uint64_t i = num_blocks; i > 1; --i) std::swap(order[i - 1], order[random_bits() % i]);
  }
  return order;
}

}  // namespace

std::vector<Access> run_kernel(const cudaLaunchConfig_t& launch, const void* function, const Body& body,
                               std::size_t shared_limit) {
  ++stats().launches;
  begin_epochs();
  begin_fragments();
  begin_shared_of_launch(launch.dynamicSmemBytes, shared_limit);
  if (memory_checker != nullptr) memory_checker->begin_launch();
  const char* arguments = static_cast<const char*>(body.pack.get());
  running.arguments = {arguments, arguments + body.bytes};
  Block& self = block();
  self.begin_launch(launch, function, body);
  const dim3 grid = launch.gridDim;
  for (const std::uint64_t i : order_of_blocks(std::uint64_t{grid.x} * grid.y * grid.z)) {
    begin_shared_of_block();
    ++stats().blocks;
    stats().threads += static_cast<std::uint64_t>(self.num_threads());
    const std::uint64_t plane = std::uint64_t{grid.x} * grid.y;
    const bool completed = self.run({static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                                     static_cast<unsigned>(i / plane)});
    if (!completed) break;
  }
  return memory_checker == nullptr ? std::vector<Access>() : memory_checker->accesses();
}

cudaError_t launch_kernel(const cudaLaunchConfig_t& config, const void* function, void (*call)(void*),
                          std::shared_ptr<void> pack, std::size_t pack_bytes) {
  return enqueue_kernel(config, function, {call, std::move(pack), pack_bytes});
}

bool checks_memory() {
  return memory_checker != nullptr;
}

void mark_live(const void* p, std::size_t bytes) {
  if (memory_checker != nullptr) memory_checker->mark_live(p, bytes);
}

void mark_dead(const void* p, std::size_t bytes) {
  if (memory_checker != nullptr) memory_checker->mark_dead(p, bytes);
}

void mark_initialized(const void* p, std::size_t bytes) {
  if (memory_checker != nullptr) memory_checker->mark_initialized(p, bytes);
}

void copy_initialized(const void* destination, const void* source, std::size_t bytes) {
  if (memory_checker != nullptr) memory_checker->copy_initialized(destination, source, bytes);
}

bool is_initialized(const void* p, std::size_t bytes) {
  return memory_checker == nullptr || memory_checker->is_initialized(p, bytes);
}

}  // namespace emulator
