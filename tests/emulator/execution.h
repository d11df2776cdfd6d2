#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "emulator/fiber.h"
#include "emulator/include/device_runtime.h"
#include "emulator/internal.h"

// The execution of one block of threads: what block.cpp (scheduling, barriers), warp.cpp (collectives), shared.cpp
// (shared memory) and check.cpp (accesses) share.
namespace emulator {

constexpr int warp_size = 32;
constexpr int max_warps = 32;
constexpr int max_threads = warp_size * max_warps;

/// The running thread as the checking runtime sees it. Time is counted in epochs: a launch, a block and a barrier begin
/// one each. Within an epoch the lanes of a warp have clocks, which __syncwarp() brings to a common higher value.
struct Running {
  std::uint32_t epoch = 1;
  std::uint32_t block_begin = 1;
  std::uint32_t launch_begin = 1;
  std::uint16_t thread = 0;
  std::uint16_t warp_clock = 0;
  Range stack;
  Range arguments;
};
extern Running running;
/// Whether this OS thread is inside a kernel.
extern constinit thread_local bool in_kernel;

/// Where threads wait.
struct Waiting {
  Collective kind = Collective::none;
  unsigned mask = 0;
  Line at{};
  const void* pc = nullptr;
};

struct Thread {
  Fiber* fiber = nullptr;  // none before its first run and after its last
  uint3 index{};
  Waiting waiting;  // at a barrier
  bool predicate = false;
  int result = 0;
};

/// A collective that some of its lanes have reached.
struct OpenCollective {
  Waiting waiting;
  unsigned arrived = 0;
};

struct Warp {
  unsigned lanes = 0;  // that exist
  unsigned ready = 0;  // that can run
  unsigned done = 0;   // that have returned from the kernel
  std::vector<OpenCollective> open;
  // What the lanes bring to a collective, and what they get.
  std::array<std::uint64_t, warp_size> values{};
  std::array<std::uint64_t, warp_size> results{};
  std::array<int, warp_size> sources{};
  std::array<void*, warp_size> arguments{};
  std::array<std::uint16_t, warp_size> clocks{};
};

/// The threads of one block at a time.
class Block {
 public:
  /// Prepares for blocks of `config`.
  void begin_launch(const cudaLaunchConfig_t& config, const void* function, const Body& body);
  /// Runs a block. false: its threads wait for each other forever, which was reported.
  bool run(uint3 index);

  int current() const { return current_; }
  Thread& thread() { return threads_[static_cast<std::size_t>(current_)]; }
  Warp& warp() { return warps_[static_cast<std::size_t>(current_ / warp_size)]; }
  int num_threads() const { return num_threads_; }
  const void* function() const { return function_; }

  /// The running thread waits (its `waiting` says where) until something makes it ready.
  void wait();
  /// Lanes of the running thread's warp can run again.
  void make_ready(unsigned lanes);
  /// Another thread may come first, by chance.
  void yield();
  /// The running thread is at a barrier.
  int arrive_at_barrier(Reduction reduction);
  /// What has happened in the block so far is before what comes.
  void begin_epoch();

 private:
  static void thread_main();
  void finish_thread();
  int pick();
  int pick_random();
  void set_current(int thread);
  void switch_to(int thread, Fiber& from);
  Fiber* take_fiber();
  int next_or_release();
  struct Group {
    Waiting waiting;
    int first = 0;
    int num_threads = 0;
  };
  std::vector<Group> waiting_groups() const;
  void release_barrier();
  void report_deadlock();
  void leave_collectives(Warp& warp, unsigned lane);

  std::vector<Thread> threads_;
  std::array<Warp, max_warps> warps_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_fibers_;
  Fiber scheduler_;
  const void* function_ = nullptr;
  const Body* body_ = nullptr;
  int num_threads_ = 0;
  int num_warps_ = 0;
  unsigned ready_warps_ = 0;
  int current_ = 0;
  int num_alive_ = 0;
  int num_at_barrier_ = 0;
  Reduction barrier_reduction_ = Reduction::count;
};
Block& block();

// ---- warp.cpp ----
/// Lets the collective happen, for all lanes in `lanes`.
void complete_collective(Warp& warp, const Waiting& collective, unsigned lanes);
/// Runs function(arguments of the 32 lanes) once, when all lanes have come. Does not order memory.
void call_for_warp(void (*function)(void* const* arguments), void* argument, Line at, const void* pc);
const char* to_string(Collective kind);
bool same_line(const Line& a, const Line& b);

// ---- shared.cpp ----
extern Range shared_memory;
/// Forgets the arrays of the last kernel and makes room for the dynamic memory. `limit`: for all arrays together.
void begin_shared_of_launch(std::size_t dynamic_bytes, std::size_t limit);
/// All arrays have unknown contents again.
void begin_shared_of_block();
/// The name of the array that p points into or past.
std::string name_of_shared(const void* p);

// ---- report.cpp ----
/// "rms_norm.cu:37"
std::string to_string(const Place& place);
/// true the first time that this rule fails at this place of code, since clear_errors().
bool first_report(const void* pc, int rule);
/// "kernel rms_norm, block (0, 0, 0), thread (3, 0, 0)"
std::string kernel_context();
/// Reports a bug of the kernel's code at pc, once.
void report_at(const void* pc, int rule, const char* kind, const std::string& text);
/// The same of a collective.
void report_at(const Waiting& collective, int rule, const char* kind, const std::string& text);
/// That of its pc, or the line that the call itself has told where the compiler has merged two calls into one.
Place place_of(const Waiting& collective);
/// Reports an access of the running thread, if there is one, to an address that is no multiple of `alignment`.
void check_alignment(const void* p, std::size_t alignment, const void* pc);

// ---- symbols.cpp ----
/// Whether code lies in the program itself, not in a library.
bool is_in_program(const void* pc);
/// "artel::Trainer::step", the function that holds the call which returns to pc; slow.
std::string function_at(const void* pc);

// ---- wmma.cpp ----
/// A new random layout of fragments if the seed is a new one.
void begin_fragments();

// ---- The checking runtime ----
enum class AccessKind { read, write, atomic, exchange };

/// Implemented by check.cpp; a plain build has none.
class MemoryChecker {
 public:
  virtual ~MemoryChecker() = default;
  virtual void mark_live(const void* p, std::size_t bytes) = 0;
  virtual void mark_dead(const void* p, std::size_t bytes) = 0;
  virtual void mark_initialized(const void* p, std::size_t bytes) = 0;
  virtual void copy_initialized(const void* destination, const void* source, std::size_t bytes) = 0;
  virtual bool is_initialized(const void* p, std::size_t bytes) const = 0;
  virtual void access(const void* p, std::size_t bytes, AccessKind kind, const void* pc) = 0;
  virtual void begin_launch() = 0;
  /// What was touched since begin_launch().
  virtual std::vector<Access> accesses() = 0;
  /// All accesses so far become older than any epoch.
  virtual void forget_epochs() = 0;
};
extern MemoryChecker* memory_checker;

}  // namespace emulator
