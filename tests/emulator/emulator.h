#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// The emulator runs CUDA kernels and the part of the CUDA runtime, cuBLAS and NCCL that Artel uses on the CPU, one
/// thread of the grid after another, and reports what a GPU would let pass: races, reads of memory that nobody wrote,
/// accesses out of bounds, barriers that not all threads reach, unordered use of a buffer by two streams. One process
/// has one emulated device, and one thread of the process calls the CUDA API.
namespace emulator {

/// Which runnable thread of a block, and which block of a grid, comes next.
enum class Order { ascending, random, descending };

/// When an operation on a stream runs: as soon as it is enqueued, only when something waits for it, or at random.
enum class Streams { eager, lazy, random };

struct Config {
  /// Seed of every random choice. Setting another one starts its sequence.
  std::uint64_t seed = 1;
  Order order = Order::ascending;
  Streams streams = Streams::eager;
  /// Memory starts as bytes of ones, which are NaN in every floating-point type.
  bool poison = true;
  /// true: errors are collected in errors() and execution goes on; false: the first one is printed and the process
  /// aborts.
  bool collect = false;
  /// Code of the host that touches device memory is reported (memcheck), if Linux has transparent huge pages.
  bool guard = true;
  /// Chance that another thread goes on at an access to memory (checking build) or an atomic operation.
  double preempt = 0;
  /// Size of the device's memory, read when it is first used.
  std::size_t heap_bytes = std::size_t{256} << 20;
  /// What the runtime says of the machine. All devices have one memory.
  int num_devices = 1;
  int compute_capability = 90;
  int driver_version = 13000;
  /// A wait in which nothing moves for so long is reported (stream).
  double stall_seconds = 60;
};
Config& config();

/// One bug found.
struct Error {
  /// What found it: memcheck, racecheck, initcheck, synccheck, deadlock, launch, ordering, stream, cublas, nccl.
  std::string kind;
  std::string text;
  /// Where in the kernels' sources; an empty file and line 0 for an error outside of kernels.
  std::string file;
  int line = 0;
};
/// "kind: text at file:line"
std::string to_string(const Error& error);

/// What was reported since clear_errors(), at most 1000 of them. The same code site reports the same bug once.
const std::vector<Error>& errors();
void clear_errors();

struct Stats {
  std::uint64_t launches = 0;
  std::uint64_t blocks = 0;
  std::uint64_t threads = 0;
  std::uint64_t switches = 0;
  /// Calls in which the host waits until the device has got somewhere, for memory as for a stream or an event.
  std::uint64_t host_waits = 0;
  /// Queries of events and streams that found the device not there yet.
  std::uint64_t vain_queries = 0;
};
Stats& stats();

/// Whether the kernels in this executable are instrumented: only then are races, bounds and reads of uninitialised
/// memory looked at.
bool checks_memory();

}  // namespace emulator
