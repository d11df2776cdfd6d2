#include <cuda_runtime_api.h>

#include <algorithm>
#include <map>
#include <utility>

#include "emulator/api.h"
#include "emulator/heap.h"
#include "emulator/stream.h"

namespace emulator {
namespace {

constexpr std::size_t shared_bytes_without_asking = 48 * 1024;
constexpr unsigned max_threads_per_block = 1024;

/// Dynamic shared memory that kernels may use, by cudaFuncSetAttribute.
std::map<const void*, std::size_t>& shared_limits() {
  static std::map<const void*, std::size_t> instance;
  return instance;
}

std::size_t shared_limit(const void* function) {
  const auto it = shared_limits().find(function);
  return it == shared_limits().end() ? shared_bytes_without_asking : it->second;
}

/// What dynamic memory and SIMT_SHARED arrays may take together.
std::size_t total_shared_limit(const void* function) {
  return shared_limits().contains(function) ? max_shared_bytes : shared_bytes_without_asking;
}

std::string size_text(const dim3& size) {
  return "(" + std::to_string(size.x) + ", " + std::to_string(size.y) + ", " + std::to_string(size.z) + ")";
}

bool is_launchable(const cudaLaunchConfig_t& config, const void* function) {
  const dim3& block = config.blockDim;
  const dim3& grid = config.gridDim;
  const char* what = nullptr;
  const std::uint64_t num_threads = std::uint64_t{block.x} * block.y * block.z;
  if (num_threads == 0 || num_threads > max_threads_per_block || block.x > 1024 || block.y > 1024 || block.z > 64) {
    what = "required blocks of 1 to 1024 threads, at most (1024, 1024, 64)";
  } else if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffU || grid.y > 65535 || grid.z > 65535) {
    what = "required a grid of at least one block, at most (2147483647, 65535, 65535)";
  } else if (config.dynamicSmemBytes > shared_limit(function)) {
    what = "required dynamic shared memory within the limit, 48 KiB or what cudaFuncSetAttribute has set";
  }
  if (what == nullptr) return true;
  error("launch", "%s: %s, found grid %s, block %s, %zu bytes of %zu", kernel_name(function).c_str(), what,
        size_text(grid).c_str(), size_text(block).c_str(), config.dynamicSmemBytes, shared_limit(function));
  return false;
}

}  // namespace

cudaError_t enqueue_kernel(const cudaLaunchConfig_t& config, const void* function, Body body) {
  if (!is_launchable(config, function)) return result(cudaErrorInvalidConfiguration);
  if (config.numAttrs != 0) {
    error("launch", "%s: attributes of launches (clusters, cooperative grids) are not emulated",
          kernel_name(function).c_str());
    return result(cudaErrorNotSupported);
  }
  if (config.stream == nullptr || config.stream == cudaStreamLegacy || config.stream == cudaStreamPerThread) {
    error("launch", "%s: required a stream, found the legacy default stream, which others do not run beside",
          kernel_name(function).c_str());
    return result(cudaErrorInvalidResourceHandle);
  }
  const Label label{"kernel launch", function, 0};
  return result(submit(config.stream, label, {}, [config, function, body = std::move(body)] {
    const std::vector<Access> accesses = run_kernel(config, function, body, total_shared_limit(function));
    record_uses(accesses);
    heap_check_red_zones(running_label());
    return true;
  }));
}

}  // namespace emulator

using emulator::result;

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return result(cudaErrorNotSupported);
  if (value < 0 || static_cast<std::size_t>(value) > emulator::max_shared_bytes) return result(cudaErrorInvalidValue);
  emulator::shared_limits()[function] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  *attributes = {};
  attributes->maxThreadsPerBlock = static_cast<int>(emulator::max_threads_per_block);
  attributes->maxDynamicSharedSizeBytes = static_cast<int>(emulator::shared_limit(function));
  attributes->binaryVersion = emulator::config().compute_capability;
  attributes->ptxVersion = emulator::config().compute_capability;
  return cudaSuccess;
}

// Registers are not modelled: threads and shared memory are what limits.
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* num_blocks, const void* function, int block_size,
                                                          std::size_t shared_bytes) {
  if (block_size <= 0 || block_size > 1024) return result(cudaErrorInvalidValue);
  constexpr int max_threads = 2048;
  constexpr int max_blocks = 32;
  constexpr std::size_t reserved_bytes = 1024;
  *num_blocks = std::min(max_blocks, max_threads / ((block_size + 31) / 32 * 32));
  const std::size_t fitting = (emulator::max_shared_bytes + reserved_bytes) / (shared_bytes + reserved_bytes);
  *num_blocks = std::min(*num_blocks, static_cast<int>(fitting));
  if (shared_bytes > emulator::shared_limit(function)) *num_blocks = 0;
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* num_blocks, const void* function,
                                                                   int block_size, std::size_t shared_bytes, unsigned) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(num_blocks, function, block_size, shared_bytes);
}

}  // extern "C"
