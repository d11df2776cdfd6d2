#include <cuda_runtime_api.h>

#include <cstring>

#include "emulator/api.h"
#include "emulator/heap.h"
#include "emulator/host_memory.h"
#include "emulator/stream.h"

using namespace emulator;

namespace {

/// The allocation that begins at p; reports and returns null if there is none.
const Allocation* allocation_at(void* p, const char* call) {
  const Allocation* const allocation = heap_find(p);
  if (allocation != nullptr && allocation->begin == p) return allocation;
  error("memcheck", "%s of %p, at which no allocation begins%s", call, p,
        is_pinned(p) ? ": it is pinned memory of the host" : "");
  return nullptr;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  if (p == nullptr) return result(cudaErrorInvalidValue);
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  char* const begin = heap_reserve(bytes);
  if (begin == nullptr) return result(cudaErrorMemoryAllocation);
  heap_make_live(begin);
  *p = begin;
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** p, std::size_t bytes, cudaStream_t stream) {
  if (p == nullptr) return result(cudaErrorInvalidValue);
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  char* const begin = heap_reserve(bytes);
  if (begin == nullptr) return result(cudaErrorMemoryAllocation);
  *p = begin;
  return result(submit(stream, {"cudaMallocAsync", nullptr, 0}, {}, [begin, bytes] {
    heap_make_live(begin);
    // Who does not wait for it may come before it.
    return use_now({{begin, bytes, true, "memory"}}) || true;
  }));
}

cudaError_t cudaFree(void* p) {
  if (p == nullptr) return cudaSuccess;
  const Allocation* const allocation = allocation_at(p, "cudaFree");
  if (allocation == nullptr) return result(cudaErrorInvalidValue);
  // What uses the memory gets to run first, so that whether the host has waited for it does not depend on the schedule.
  before_wait("cudaFree");
  drain();
  const Actor host = host_actor("cudaFree");
  if (allocation->live) {
    const char* const begin = allocation->begin;
    use_memory(host, {{{begin, begin + allocation->bytes}, true}});
  }
  heap_release(allocation->begin, host.label);
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  if (p == nullptr) return cudaSuccess;
  const Allocation* const allocation = allocation_at(p, "cudaFreeAsync");
  if (allocation == nullptr) return result(cudaErrorInvalidValue);
  char* const begin = allocation->begin;
  return result(submit(stream, {"cudaFreeAsync", nullptr, 0}, {{begin, allocation->bytes, true, "memory"}}, [begin] {
    heap_release(begin, running_label());
    return true;
  }));
}

cudaError_t cudaMallocHost(void** p, std::size_t bytes) {
  return cudaHostAlloc(p, bytes, cudaHostAllocDefault);
}

cudaError_t cudaHostAlloc(void** p, std::size_t bytes, unsigned) {
  if (p == nullptr) return result(cudaErrorInvalidValue);
  *p = bytes == 0 ? nullptr : pinned_allocate(bytes);
  return result(bytes == 0 || *p != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void* p) {
  if (p == nullptr) return cudaSuccess;
  const std::size_t bytes = pinned_bytes(p);
  if (bytes == 0) {
    error("memcheck", "cudaFreeHost of %p, at which no pinned allocation begins", p);
    return result(cudaErrorInvalidValue);
  }
  before_wait("cudaFreeHost");
  drain();
  host_uses("cudaFreeHost", p, bytes, true);
  pinned_free(p);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  make_heap();
  *total_bytes = static_cast<std::size_t>(device_heap.end - device_heap.begin);
  *free_bytes = *total_bytes - heap_bytes_in_use();
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  if (attributes == nullptr) return result(cudaErrorInvalidValue);
  *attributes = {};
  void* const pointer = const_cast<void*>(p);
  if (is_device(p) && heap_find(p) != nullptr) {
    attributes->type = cudaMemoryTypeDevice;
    attributes->device = current_device();
    attributes->devicePointer = pointer;
  } else if (is_pinned(p)) {
    attributes->type = cudaMemoryTypeHost;
    attributes->device = current_device();
    attributes->devicePointer = pointer;
    attributes->hostPointer = pointer;
  } else {
    attributes->type = cudaMemoryTypeUnregistered;
    attributes->device = cudaInvalidDeviceId;
    attributes->hostPointer = pointer;
  }
  return cudaSuccess;
}

}  // extern "C"
