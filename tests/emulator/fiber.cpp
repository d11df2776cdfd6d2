#include "emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "emulator/poison.h"

#if defined(EMULATOR_ADDRESS_SANITIZER)
#include <sanitizer/common_interface_defs.h>
#endif

// EMULATOR_PORTABLE_FIBERS=1 takes the version for other processors, which tests do.
#if !defined(EMULATOR_PORTABLE_FIBERS)
#if defined(__x86_64__) || defined(__aarch64__)
#define EMULATOR_PORTABLE_FIBERS 0
#else
#define EMULATOR_PORTABLE_FIBERS 1
#endif
#endif
#if EMULATOR_PORTABLE_FIBERS
#include <ucontext.h>
#endif

#if !EMULATOR_PORTABLE_FIBERS
// Pushes the registers that a function must keep, saves the stack pointer in *save, takes the other stack and pops
// them. The mask of signals and the modes of floating-point arithmetic are the same on all stacks.
extern "C" void emulator_switch_stack(void** save, void* to);
#if defined(__x86_64__)
asm(R"(
.text
.globl emulator_switch_stack
.type emulator_switch_stack,@function
emulator_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulator_switch_stack,.-emulator_switch_stack
)");
#else
asm(R"(
.text
.globl emulator_switch_stack
.type emulator_switch_stack,%function
emulator_switch_stack:
    stp x29, x30, [sp, #-160]!
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]
    ldp x27, x28, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    ldp x29, x30, [sp], #160
    ret
.size emulator_switch_stack,.-emulator_switch_stack
)");
#endif
#endif

namespace emulator {

namespace {

constexpr std::size_t guard_bytes = 64 * 1024;  // a page of any size

// The fiber that is being left and the one that is entered, for code that runs first on the new stack.
Fiber* leaving = nullptr;
Fiber* entering = nullptr;

#if !EMULATOR_PORTABLE_FIBERS
// What emulator_switch_stack pops for a fiber that has not run: zeros, and the function to "return" to.
void* first_frame(char* top, Fiber::Entry function) {
  auto** frame = reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(top) / 16 * 16);
#if defined(__x86_64__)
  constexpr int num_registers = 6;
  *--frame = nullptr;  // the return address of the function, which keeps the stack aligned as after a call
  *--frame = reinterpret_cast<void*>(function);
  for (int i = 0; i < num_registers; ++i) *--frame = nullptr;
#else
  constexpr int num_registers = 20;
  for (int i = 0; i < num_registers; ++i) *--frame = nullptr;
  frame[1] = reinterpret_cast<void*>(function);  // x30
#endif
  return frame;
}
#endif

}  // namespace

Fiber::Fiber() {
#if EMULATOR_PORTABLE_FIBERS
  context_ = new ucontext_t{};
#endif
}

Fiber::Fiber(std::size_t stack_bytes, std::size_t offset) : Fiber() {
  void* p = mmap(nullptr, stack_bytes + guard_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<char*>(p);
  mprotect(mapping_, guard_bytes, PROT_NONE);
  stack_ = mapping_ + guard_bytes;
  stack_bytes_ = stack_bytes;
  offset_ = offset;
}

Fiber::~Fiber() {
#if EMULATOR_PORTABLE_FIBERS
  delete static_cast<ucontext_t*>(context_);
#endif
  if (mapping_ == nullptr) return;
  unpoison_region(stack_, stack_bytes_);
  munmap(mapping_, stack_bytes_ + guard_bytes);
}

void Fiber::start(Entry entry) {
  entry_ = entry;
  fake_stack_ = nullptr;
  unpoison_region(stack_, stack_bytes_);
#if EMULATOR_PORTABLE_FIBERS
  auto* context = static_cast<ucontext_t*>(context_);
  getcontext(context);
  context->uc_stack.ss_sp = stack_;
  context->uc_stack.ss_size = stack_bytes_ - offset_;
  context->uc_link = nullptr;
  makecontext(context, &Fiber::enter, 0);
#else
  context_ = first_frame(stack_ + stack_bytes_ - offset_, &Fiber::enter);
#endif
}

void Fiber::switch_from(Fiber& from) {
  leaving = &from;
  entering = this;
#if defined(EMULATOR_ADDRESS_SANITIZER)
  __sanitizer_start_switch_fiber(&from.fake_stack_, stack_, stack_bytes_);
#endif
#if EMULATOR_PORTABLE_FIBERS
  swapcontext(static_cast<ucontext_t*>(from.context_), static_cast<ucontext_t*>(context_));
#else
  emulator_switch_stack(&from.context_, context_);
#endif
#if defined(EMULATOR_ADDRESS_SANITIZER)
  __sanitizer_finish_switch_fiber(from.fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::enter() {
#if defined(EMULATOR_ADDRESS_SANITIZER)
  // The bounds of the stack that was there first become known when it is left.
  const void* stack = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
  if (leaving->stack_ == nullptr) {
    leaving->stack_ = const_cast<char*>(static_cast<const char*>(stack));
    leaving->stack_bytes_ = bytes;
  }
#endif
  entering->entry_();
  std::abort();
}

}  // namespace emulator
