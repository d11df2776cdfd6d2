#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emulator/emulator.h"

// What the parts of the emulator need of each other: the execution of kernels (report, block, warp, check) and the
// runtime around it (heap, streams, cuBLAS, NCCL). Kernels see include/emulator.h, tests see emulator.h.
namespace emulator {

// ---- Reports and chance (report.cpp) ----

/// A line of source; an empty file if it is not known.
struct Place {
  std::string file;
  int line = 0;
};

/// Reports a bug: collected, or printed before the process aborts (Config::collect). During a kernel the text gets
/// its name, block and thread. `kind`: see Error.
void report(const char* kind, const Place& place, const std::string& text);
/// The same without a place, as printf.
void error(const char* kind, const char* format, ...) __attribute__((format(printf, 2, 3)));
/// The source line of an address in code; slow.
Place place_of(const void* pc);
/// "rms_norm_kernel", the name of a __global__ function without namespaces and arguments; slow at first.
std::string kernel_name(const void* function);

/// 53 random bits of Config::seed's sequence.
std::uint64_t random_bits();
/// true with probability p.
bool chance(double p);

// ---- Device memory (heap.cpp) ----

struct Range {
  const char* begin = nullptr;
  const char* end = nullptr;
  bool contains(const void* p) const { return p >= begin && p < end; }
};
/// The whole of device memory; empty until the first use. The heap sets it, once.
extern Range device_heap;
inline bool is_device(const void* p) {
  return device_heap.contains(p);
}

/// While one of these exists, device memory can be accessed; else an access is reported (Config::guard). Whatever
/// touches device memory makes one: an operation that runs, the heap.
class DeviceAccess {
 public:
  DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
  ~DeviceAccess();
};

// ---- Hooks of the heap and of copies into the checking runtime (check.cpp); nothing in a plain build ----

/// [p, p + bytes) of device memory became an allocation with unknown contents, or stopped being one.
void mark_live(const void* p, std::size_t bytes);
void mark_dead(const void* p, std::size_t bytes);
/// Something other than a kernel wrote it: a copy from the host, cuBLAS, NCCL.
void mark_initialized(const void* p, std::size_t bytes);
/// Copied within device memory: the destination is initialised where the source is.
void copy_initialized(const void* destination, const void* source, std::size_t bytes);
/// Whether every byte was written; true in a plain build.
bool is_initialized(const void* p, std::size_t bytes);

// ---- Kernels (block.cpp) ----

/// The arguments of a launch: call(pack.get()) runs the kernel's body for the current thread.
struct Body {
  void (*call)(void*) = nullptr;
  std::shared_ptr<void> pack;
  std::size_t bytes = 0;
};

/// Device memory that a kernel touched.
struct Access {
  Range range;
  bool write = false;
};

/// Runs all threads of all blocks now; the configuration is valid. Returns what the kernel read and wrote of device
/// memory in a checking build, sorted, without overlaps (what was both read and written counts as written); nothing in
/// a plain build. `shared_limit`: bytes of dynamic memory and SIMT_SHARED arrays together that are no error.
std::vector<Access> run_kernel(const cudaLaunchConfig_t& config, const void* function, const Body& body,
                               std::size_t shared_limit);

/// Largest dynamic shared memory that a block may ask for.
constexpr std::size_t max_shared_bytes = 227 * 1024;

// ---- Streams (stream.cpp) ----

/// Called by the launch in include/emulator.h: checks the configuration (grid, block, shared memory against
/// cudaFuncSetAttribute, no legacy stream) and puts run_kernel on config.stream.
cudaError_t enqueue_kernel(const cudaLaunchConfig_t& config, const void* function, Body body);
/// Puts an operation on a stream. `operation` returns false while it cannot finish yet; it is called again later.
/// `what` is a literal, for messages.
void enqueue(cudaStream_t stream, const char* what, std::function<bool()> operation);
/// Runs everything that is enqueued, or a little of it.
void drain();
void progress();

}  // namespace emulator
