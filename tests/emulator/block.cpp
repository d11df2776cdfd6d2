#include <algorithm>
#include <bit>
#include <cstdio>

#include "emulator/execution.h"
#include "emulator/poison.h"

// device_launch_parameters.h declares these as constants; here is their storage.
extern "C" {
__attribute__((used)) uint3 emulator_thread_index asm("threadIdx");
__attribute__((used)) uint3 emulator_block_index asm("blockIdx");
__attribute__((used)) dim3 emulator_block_dim asm("blockDim");
__attribute__((used)) dim3 emulator_grid_dim asm("gridDim");
__attribute__((used)) int emulator_warp_size asm("warpSize") = 32;
}

namespace emulator {

Running running;
constinit thread_local bool in_kernel = false;

namespace {

constexpr std::size_t stack_bytes = (built_with_address_sanitizer ? 256 : 64) * std::size_t{1024};

unsigned lowest(unsigned mask) {
  return static_cast<unsigned>(std::countr_zero(mask));
}
unsigned highest(unsigned mask) {
  return 31U - static_cast<unsigned>(std::countl_zero(mask));
}
/// One of the bits of a mask that is not 0.
unsigned any_of(unsigned mask, unsigned random) {
  const unsigned start = random & 31U;
  return (lowest(std::rotr(mask, static_cast<int>(start))) + start) & 31U;
}

}  // namespace

Block& block() {
  static Block instance;
  return instance;
}

void Block::begin_launch(const cudaLaunchConfig_t& config, const void* function, const Body& body) {
  function_ = function;
  body_ = &body;
  const dim3 dims = config.blockDim;
  num_threads_ = static_cast<int>(dims.x * dims.y * dims.z);
  num_warps_ = (num_threads_ + warp_size - 1) / warp_size;
  threads_.resize(static_cast<std::size_t>(num_threads_));
  for (int i = 0; i < num_threads_; ++i) {
    const auto linear = static_cast<unsigned>(i);
    threads_[linear].index = {linear % dims.x, linear / dims.x % dims.y, linear / (dims.x * dims.y)};
  }
  emulator_block_dim = dims;
  emulator_grid_dim = config.gridDim;
}

bool Block::run(uint3 index) {
  emulator_block_index = index;
  running.epoch = running.block_begin = running.epoch + 1;
  num_alive_ = num_threads_;
  num_at_barrier_ = 0;
  ready_warps_ = 0;
  for (int w = 0; w < num_warps_; ++w) {
    Warp& warp = warps_[static_cast<std::size_t>(w)];
    const int num_lanes = std::min(warp_size, num_threads_ - w * warp_size);
    warp.lanes = num_lanes == warp_size ? ~0U : (1U << num_lanes) - 1;
    warp.ready = warp.lanes;
    warp.done = 0;
    warp.open.clear();
    warp.clocks.fill(0);
    ready_warps_ |= 1U << w;
  }
  current_ = config().order == Order::descending ? num_threads_ - 1 : 0;
  in_kernel = true;
  switch_to(pick(), scheduler_);
  in_kernel = false;
  if (num_alive_ == 0) return true;
  report_deadlock();
  for (Thread& thread : threads_) {
    thread.waiting.kind = Collective::none;
    if (thread.fiber != nullptr) free_fibers_.push_back(thread.fiber);
    thread.fiber = nullptr;
  }
  return false;
}

void Block::thread_main() {
  Block& self = block();
  for (;;) {
    self.body_->call(self.body_->pack.get());
    self.finish_thread();
  }
}

/// Returns when the fiber has another thread to run from its beginning.
void Block::finish_thread() {
  Fiber* fiber = thread().fiber;
  thread().fiber = nullptr;
  const unsigned lane = 1U << (current_ % warp_size);
  --num_alive_;
  warp().done |= lane;
  leave_collectives(warp(), lane);
  const int next = next_or_release();
  if (next >= 0 && threads_[static_cast<std::size_t>(next)].fiber == nullptr) {
    threads_[static_cast<std::size_t>(next)].fiber = fiber;
    set_current(next);
    return;
  }
  free_fibers_.push_back(fiber);
  if (next >= 0) {
    switch_to(next, *fiber);
  } else {
    scheduler_.switch_from(*fiber);
  }
}

/// The next thread to run; -1 if there is none.
int Block::next_or_release() {
  if (ready_warps_ == 0 && num_at_barrier_ > 0 && num_at_barrier_ == num_alive_) release_barrier();
  return pick();
}

int Block::pick() {
  if (ready_warps_ == 0) return -1;
  unsigned warp = static_cast<unsigned>(current_ / warp_size);
  unsigned lane = 0;
  const bool stays = (ready_warps_ >> warp & 1U) != 0;
  switch (config().order) {
    case Order::ascending:
      if (!stays) warp = lowest(ready_warps_);
      lane = lowest(warps_[warp].ready);
      break;
    case Order::descending:
      if (!stays) warp = highest(ready_warps_);
      lane = highest(warps_[warp].ready);
      break;
    case Order::random: {
      // Mostly the same warp goes on, so that some warps get far ahead of others.
      const auto random = static_cast<unsigned>(random_bits());
      if (!stays || (random & 0xc00U) == 0) warp = any_of(ready_warps_, random >> 5);
      lane = any_of(warps_[warp].ready, random);
      break;
    }
  }
  warps_[warp].ready &= ~(1U << lane);
  if (warps_[warp].ready == 0) ready_warps_ &= ~(1U << warp);
  return static_cast<int>(warp * warp_size + lane);
}

void Block::set_current(int thread) {
  current_ = thread;
  const Thread& next = threads_[static_cast<std::size_t>(thread)];
  emulator_thread_index = next.index;
  running.thread = static_cast<std::uint16_t>(thread);
  running.warp_clock = warp().clocks[static_cast<std::size_t>(thread % warp_size)];
  running.stack = {next.fiber->stack_begin(), next.fiber->stack_end()};
}

void Block::switch_to(int thread, Fiber& from) {
  Thread& next = threads_[static_cast<std::size_t>(thread)];
  if (next.fiber == nullptr) {
    next.fiber = take_fiber();
    next.fiber->start(&Block::thread_main);
  }
  set_current(thread);
  ++stats().switches;
  if (next.fiber != &from) next.fiber->switch_from(from);
}

Fiber* Block::take_fiber() {
  if (free_fibers_.empty()) {
    constexpr std::size_t num_offsets = 16;
    constexpr std::size_t offset_bytes = 256;
    const std::size_t offset = fibers_.size() % num_offsets * offset_bytes;
    fibers_.push_back(std::make_unique<Fiber>(stack_bytes, offset));
    return fibers_.back().get();
  }
  Fiber* fiber = free_fibers_.back();
  free_fibers_.pop_back();
  return fiber;
}

void Block::wait() {
  const int next = next_or_release();
  Fiber& mine = *thread().fiber;
  if (next < 0) {
    scheduler_.switch_from(mine);
  } else {
    switch_to(next, mine);
  }
}

void Block::make_ready(unsigned lanes) {
  if (lanes == 0) return;
  warp().ready |= lanes;
  ready_warps_ |= 1U << (current_ / warp_size);
}

void Block::yield() {
  make_ready(1U << (current_ % warp_size));
  wait();
}

void Block::begin_epoch() {
  ++running.epoch;
  for (int w = 0; w < num_warps_; ++w) warps_[static_cast<std::size_t>(w)].clocks.fill(0);
  running.warp_clock = 0;
}

int Block::arrive_at_barrier(Reduction reduction) {
  barrier_reduction_ = reduction;
  ++num_at_barrier_;
  wait();
  return thread().result;
}

void Block::release_barrier() {
  const Waiting* first = nullptr;
  int first_thread = 0;
  int num_true = 0;
  for (int i = 0; i < num_threads_; ++i) {
    const Thread& thread = threads_[static_cast<std::size_t>(i)];
    if (thread.waiting.kind != Collective::barrier) continue;
    num_true += thread.predicate ? 1 : 0;
    if (first == nullptr) {
      first = &thread.waiting;
      first_thread = i;
    } else if (!same_line(thread.waiting.at, first->at)) {
      report_at(*first, 0, "synccheck",
                "thread " + std::to_string(first_thread) + " waits at this __syncthreads, thread " + std::to_string(i) +
                    " at the one at " + to_string(place_of(thread.waiting)));
      break;
    }
  }
  if (num_alive_ < num_threads_) {
    report_at(*first, 1, "synccheck",
              "__syncthreads reached by " + std::to_string(num_alive_) + " of " + std::to_string(num_threads_) +
                  " threads, the others have exited");
  }
  int result = num_true;
  if (barrier_reduction_ == Reduction::all) result = num_true == num_at_barrier_ ? 1 : 0;
  if (barrier_reduction_ == Reduction::any) result = num_true > 0 ? 1 : 0;
  for (int i = 0; i < num_threads_; ++i) {
    Thread& thread = threads_[static_cast<std::size_t>(i)];
    if (thread.waiting.kind != Collective::barrier) continue;
    thread.waiting.kind = Collective::none;
    thread.result = result;
    warps_[static_cast<std::size_t>(i / warp_size)].ready |= 1U << (i % warp_size);
    ready_warps_ |= 1U << (i / warp_size);
  }
  num_at_barrier_ = 0;
  begin_epoch();
}

/// A lane has returned from the kernel: collectives that name it go on without it.
void Block::leave_collectives(Warp& warp, unsigned lane) {
  for (std::size_t i = 0; i < warp.open.size(); ++i) {
    OpenCollective& open = warp.open[i];
    if ((open.waiting.mask & lane) == 0) continue;
    report_at(open.waiting, 2, "synccheck",
              std::string(to_string(open.waiting.kind)) + " waits for lane " + std::to_string(std::countr_zero(lane)) +
                  ", which has exited");
    if (open.arrived != (open.waiting.mask & warp.lanes & ~warp.done)) continue;
    const OpenCollective complete = open;
    warp.open.erase(warp.open.begin() + static_cast<std::ptrdiff_t>(i));
    --i;
    complete_collective(warp, complete.waiting, complete.arrived);
    make_ready(complete.arrived);
  }
}

/// Who waits where, for a block in which nobody can go on.
std::vector<Block::Group> Block::waiting_groups() const {
  std::vector<Group> groups;
  const auto add = [&](const Waiting& waiting, int first, int num_threads) {
    for (Group& group : groups) {
      if (group.waiting.kind != waiting.kind || group.waiting.mask != waiting.mask || group.waiting.pc != waiting.pc ||
          group.waiting.at.number != waiting.at.number)
        continue;
      group.num_threads += num_threads;
      return;
    }
    groups.push_back({waiting, first, num_threads});
  };
  for (int i = 0; i < num_threads_; ++i) {
    const Waiting& waiting = threads_[static_cast<std::size_t>(i)].waiting;
    if (waiting.kind == Collective::barrier) add(waiting, i, 1);
  }
  for (int w = 0; w < num_warps_; ++w) {
    for (const OpenCollective& open : warps_[static_cast<std::size_t>(w)].open) {
      add(open.waiting, w * warp_size + std::countr_zero(open.arrived), std::popcount(open.arrived));
    }
  }
  return groups;
}

void Block::report_deadlock() {
  const std::vector<Group> groups = waiting_groups();
  std::string text = "threads wait for each other:";
  for (const Group& group : groups) {
    char mask[32] = "";
    if (group.waiting.kind != Collective::barrier)
      std::snprintf(mask, sizeof mask, " of mask %08x", group.waiting.mask);
    text += " [" + std::to_string(group.num_threads) + " threads, the first " + std::to_string(group.first) + ", in " +
            to_string(group.waiting.kind) + mask + " at " + to_string(place_of(group.waiting)) + "]";
  }
  if (num_alive_ < num_threads_) text += " " + std::to_string(num_threads_ - num_alive_) + " threads have exited";
  in_kernel = true;
  report_at(groups.empty() ? Waiting() : groups.front().waiting, 3, "deadlock", text);
  in_kernel = false;
}

int block_barrier(Reduction reduction, bool predicate, Line at) {
  Block& self = block();
  Thread& thread = self.thread();
  thread.waiting = {Collective::barrier, 0, at, __builtin_return_address(0)};
  thread.predicate = predicate;
  return self.arrive_at_barrier(reduction);
}

std::string kernel_context() {
  char text[160];
  std::snprintf(text, sizeof text, ", block (%u, %u, %u), thread (%u, %u, %u)", emulator_block_index.x,
                emulator_block_index.y, emulator_block_index.z, emulator_thread_index.x, emulator_thread_index.y,
                emulator_thread_index.z);
  return "kernel " + kernel_name(block().function()) + text;
}

}  // namespace emulator
