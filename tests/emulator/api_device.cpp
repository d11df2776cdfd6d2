#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>

#include "emulator/api.h"
#include "emulator/heap.h"
#include "emulator/stream.h"

namespace emulator {
namespace {

constexpr int num_multiprocessors = 4;
constexpr int shared_bytes_per_block = 48 * 1024;

cudaError_t& last_error() {
  static cudaError_t status = cudaSuccess;
  return status;
}

int& device() {
  static int index = 0;
  return index;
}

bool is_known(int index) {
  return index >= 0 && index < config().num_devices;
}

}  // namespace

cudaError_t result(cudaError_t status) {
  if (status != cudaSuccess) last_error() = status;
  return status;
}

int current_device() {
  return device();
}

}  // namespace emulator

using namespace emulator;

extern "C" {

cudaError_t cudaGetLastError() {
  const cudaError_t status = last_error();
  last_error() = cudaSuccess;
  return status;
}

cudaError_t cudaPeekAtLastError() {
  return last_error();
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = config().num_devices;
  return result(config().num_devices > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int index) {
  if (config().num_devices <= 0) return result(cudaErrorNoDevice);
  if (!is_known(index)) return result(cudaErrorInvalidDevice);
  device() = index;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* index) {
  if (config().num_devices <= 0) return result(cudaErrorNoDevice);
  *index = device();
  return cudaSuccess;
}

cudaError_t cudaDeviceReset() {
  wait_for_device("cudaDeviceReset");
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = config().num_devices > 0 ? config().driver_version : 0;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int index) {
  if (!is_known(index)) return result(cudaErrorInvalidDevice);
  std::memset(properties, 0, sizeof *properties);
  std::snprintf(properties->name, sizeof properties->name, "emulated GPU");
  properties->totalGlobalMem = config().heap_bytes;
  properties->sharedMemPerBlock = shared_bytes_per_block;
  properties->sharedMemPerBlockOptin = max_shared_bytes;
  properties->sharedMemPerMultiprocessor = max_shared_bytes + 1024;
  properties->reservedSharedMemPerBlock = 1024;
  properties->regsPerBlock = 65536;
  properties->regsPerMultiprocessor = 65536;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->maxBlocksPerMultiProcessor = 32;
  const int block[3] = {1024, 1024, 64};
  const int grid[3] = {2147483647, 65535, 65535};
  std::memcpy(properties->maxThreadsDim, block, sizeof block);
  std::memcpy(properties->maxGridSize, grid, sizeof grid);
  properties->totalConstMem = 65536;
  properties->major = config().compute_capability / 10;
  properties->minor = config().compute_capability % 10;
  properties->multiProcessorCount = num_multiprocessors;
  properties->unifiedAddressing = 1;
  properties->canMapHostMemory = 1;
  properties->concurrentKernels = 1;
  properties->asyncEngineCount = 2;
  properties->memoryPoolsSupported = 1;
  properties->streamPrioritiesSupported = 1;
  properties->l2CacheSize = 50 << 20;
  properties->memoryBusWidth = 5120;
  properties->pciDeviceID = index;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int index) {
  if (!is_known(index)) return result(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = num_multiprocessors;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = config().compute_capability / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = config().compute_capability % 10;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = shared_bytes_per_block;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(max_shared_bytes);
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(max_shared_bytes) + 1024;
      break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      *value = 1024;
      break;
    case cudaDevAttrMaxThreadsPerBlock:
      *value = 1024;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = 2048;
      break;
    case cudaDevAttrMaxRegistersPerBlock:
      *value = 65536;
      break;
    case cudaDevAttrMaxGridDimX:
      *value = 2147483647;
      break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      *value = 65535;
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrL2CacheSize:
      *value = 50 << 20;
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      break;
    case cudaDevAttrUnifiedAddressing:
      *value = 1;
      break;
    default:
      error("launch", "cudaDeviceGetAttribute: attribute %d is not emulated", static_cast<int>(attribute));
      return result(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

}  // extern "C"
