#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "emulator/execution.h"

#if defined(__x86_64__) || defined(__aarch64__)
#include <ucontext.h>
#endif

// Between operations device memory is inaccessible, so that code of the host which reads or writes it is reported, as
// a GPU would end it.
namespace emulator {

namespace {

struct Guard {
  int depth = 0;  // of DeviceAccess
  bool is_open = true;
  struct sigaction previous {};
};
Guard guard;

void protect(int protection) {
  char* begin = const_cast<char*>(device_heap.begin);
  mprotect(begin, static_cast<std::size_t>(device_heap.end - device_heap.begin), protection);
}

void open_memory() {
  if (guard.is_open) return;
  protect(PROT_READ | PROT_WRITE);
  guard.is_open = true;
}

/// What touched the memory; null where the processor is not known.
const void* instruction_of([[maybe_unused]] void* context) {
#if defined(__x86_64__)
  return reinterpret_cast<const void*>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return reinterpret_cast<const void*>(static_cast<ucontext_t*>(context)->uc_mcontext.pc);
#else
  return nullptr;
#endif
}

/// Of the calls that led to the access, the first that is not in a library.
void report_host_access(const void* address, const void* instruction) {
  if (!first_report(instruction, 14)) return;
  std::array<void*, 64> frames{};
  const int num_frames = backtrace(frames.data(), static_cast<int>(frames.size()));
  bool is_after_signal = instruction == nullptr;
  for (int i = 0; i < num_frames; ++i) {
    const void* pc = frames[static_cast<std::size_t>(i)];
    is_after_signal = is_after_signal || pc == instruction;
    if (!is_after_signal || !is_in_program(pc)) continue;
    // What faults is the instruction itself, what calls is the one before.
    const void* after = pc == instruction ? static_cast<const char*>(pc) + 1 : pc;
    return report("memcheck", place_of(after), "code of the host touches device memory, in " + function_at(after));
  }
  char text[64];
  std::snprintf(text, sizeof text, "code of the host touches device memory at %p", address);
  report("memcheck", {}, text);
}

void on_fault(int signal, siginfo_t* info, void* context) {
  if (device_heap.contains(info->si_addr) && !guard.is_open) {
    open_memory();  // until the next operation
    if (config().guard) report_host_access(info->si_addr, instruction_of(context));
    return;
  }
  // Somebody else's: it happens again, for whoever was there before.
  sigaction(signal, &guard.previous, nullptr);
}

/// Test frameworks install handlers of their own, for the time of a test.
void install_handler() {
  struct sigaction ours {};
  ours.sa_sigaction = &on_fault;
  ours.sa_flags = SA_SIGINFO | SA_NODEFER;
  struct sigaction before {};
  if (sigaction(SIGSEGV, &ours, &before) == 0 && before.sa_sigaction != &on_fault) guard.previous = before;
}

/// Making device memory accessible and not takes 70 us for each MiB in use without huge pages, and 10 us at all with.
bool has_huge_pages() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string line;
  return std::getline(file, line) && line.find("[never]") == std::string::npos;
}

}  // namespace

DeviceAccess::DeviceAccess() {
  if (guard.depth++ == 0) open_memory();
}

DeviceAccess::~DeviceAccess() {
  static const bool is_possible = has_huge_pages();
  if (--guard.depth > 0 || !config().guard || !is_possible) return;
  install_handler();
  protect(PROT_NONE);
  guard.is_open = false;
}

}  // namespace emulator
