#pragma once

#include <cstddef>

namespace emulator {

/// A stack of its own on which a function runs until it switches to another fiber. Switching saves what the calling
/// convention asks for and makes no system call on x86-64 and aarch64; elsewhere it is swapcontext().
/// One OS thread at a time may switch between the fibers of a process.
class Fiber {
 public:
  using Entry = void (*)();

  /// The stack that the caller runs on.
  Fiber();
  /// A new stack with an inaccessible page below it. `offset` bytes at its top stay unused: stacks that begin at
  /// different offsets into a page do not compete for the same cache sets.
  Fiber(std::size_t stack_bytes, std::size_t offset);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  /// The next switch to this fiber calls entry(), which must never return. What ran on it before is dropped.
  void start(Entry entry);
  /// Leaves `from`, which is running, and goes on where this fiber was left. Returns when something switches to `from`.
  void switch_from(Fiber& from);

  const char* stack_begin() const { return stack_; }
  const char* stack_end() const { return stack_ + stack_bytes_; }

 private:
  static void enter();

  char* mapping_ = nullptr;
  char* stack_ = nullptr;
  std::size_t stack_bytes_ = 0;
  std::size_t offset_ = 0;
  Entry entry_ = nullptr;
  // The saved stack pointer, or the ucontext_t of the portable version.
  void* context_ = nullptr;
  // Of the address sanitizer.
  void* fake_stack_ = nullptr;
};

}  // namespace emulator
