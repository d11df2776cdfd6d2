#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "emulator/heap.h"
#include "emulator/host_memory.h"
#include "emulator/stream.h"

namespace emulator {
namespace {

const Operation*& running() {
  static const Operation* operation = nullptr;
  return operation;
}

double milliseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
}

/// false: it has to be called again.
bool run_operation(Operation& operation) {
  const DeviceAccess access;
  running() = &operation;
  bool ended = true;
  if (operation.started || use_now(operation.uses)) ended = operation.run();
  operation.started = true;
  running() = nullptr;
  return ended;
}

/// Runs the next operation of a stream if it can run; false if nothing has changed.
bool step(CUstream_st& stream) {
  if (stream.queue.empty()) return false;
  Operation& operation = stream.queue.front();
  switch (operation.step) {
    case Step::run:
      if (!run_operation(operation)) return false;
      break;
    case Step::record:
      operation.event->num_reached = std::max(operation.event->num_reached, operation.event_count);
      operation.event->milliseconds = milliseconds();
      break;
    case Step::wait:
      if (operation.event->num_reached < operation.event_count) return false;
      break;
  }
  stream.queue.pop_front();
  return true;
}

/// The first step that is possible, in the order of the streams, or in an order that is drawn and kept for a while so
/// that a stream can fall behind others.
bool step_any() {
  if (is_running()) return false;
  const auto streams = all_queues();
  std::vector<std::size_t> order(streams.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (config().streams == Streams::random) {
    static std::uint64_t seed = 0;
    static std::uint64_t draw = 0;
    if (seed != config().seed || chance(1.0 / 12)) draw = random_bits();
    seed = config().seed;
    const auto place = [](std::size_t i) {
      return ((i + 1 + draw) * 0x9e3779b97f4a7c15ULL) ^ (draw * 0xbf58476d1ce4e5b9ULL);
    };
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return place(a) < place(b); });
  }
  return std::any_of(order.begin(), order.end(), [&](std::size_t i) { return step(*streams[i]); });
}

/// One step of this stream, or of one that it waits for.
bool step_towards(CUstream_st& stream, std::size_t depth) {
  if (step(stream)) return true;
  if (stream.queue.empty() || stream.queue.front().step != Step::wait || depth == 0) return false;
  const Operation& wait = stream.queue.front();
  for (CUstream_st* other : all_queues()) {
    const bool records = std::any_of(other->queue.begin(), other->queue.end(), [&](const Operation& o) {
      return o.step == Step::record && o.event == wait.event && o.event_count >= wait.event_count;
    });
    if (records && other != &stream && step_towards(*other, depth - 1)) return true;
  }
  return false;
}

/// Nothing has moved for too long. When errors are collected, what is stuck is dropped, so that a test can go on.
void report_stall(const char* call) {
  std::string where;
  for (const CUstream_st* stream : all_queues()) {
    if (stream->queue.empty()) continue;
    where += (where.empty() ? "" : ", ") + text(stream->queue.front().actor.label);
  }
  error("stream", "%s: nothing has moved for %g s; waiting: %s", call, config().stall_seconds,
        where.empty() ? "no operation" : where.c_str());
  if (where.empty()) {
    std::fprintf(stderr, "emulator: %s waits for nothing that the emulator runs\n", call);
    std::abort();
  }
  for (CUstream_st* stream : all_queues()) {
    if (!stream->queue.empty() && stream->queue.front().step == Step::run) stream->queue.pop_front();
  }
}

}  // namespace

bool is_running() {
  return running() != nullptr;
}

const Label& running_label() {
  return running()->actor.label;
}

void record_uses(const std::vector<Access>& uses) {
  use_memory(running()->actor, uses);
}

bool use_now(const std::vector<MemoryUse>& uses) {
  const Actor& actor = running()->actor;
  std::vector<Access> accesses;
  bool ok = true;
  for (const MemoryUse& use : uses) {
    if (use.bytes == 0) continue;
    if (is_device(use.begin)) {
      ok = heap_check(use.begin, use.bytes, actor.label, use.what) && ok;
    } else if (is_pinned(use.begin)) {
      ok = pinned_check(use.begin, use.bytes, text(actor.label).c_str(), use.what) && ok;
    } else {
      continue;
    }
    const char* const begin = static_cast<const char*>(use.begin);
    accesses.push_back({{begin, begin + use.bytes}, use.write});
  }
  if (ok) use_memory(actor, accesses);
  return ok;
}

void run_until(CUstream_st* first, const char* call, const std::function<bool()>& done) {
  int num_idle = 0;
  double idle_since = 0;
  while (!done()) {
    bool moved = false;
    if (config().streams != Streams::random && first != nullptr) moved = step_towards(*first, all_queues().size());
    if (moved || step_any()) {
      num_idle = 0;
      continue;
    }
    if (num_idle++ == 0) idle_since = milliseconds();
    if (milliseconds() - idle_since > config().stall_seconds * 1e3) {
      report_stall(call);
      num_idle = 0;
    }
    // Another rank has to move, perhaps on this core.
    if (num_idle < 100) {
      sched_yield();
    } else {
      usleep(50);
    }
  }
}

void run_some() {
  switch (config().streams) {
    case Streams::eager:
      while (step_any()) {
      }
      break;
    case Streams::lazy:
      break;
    case Streams::random:
      while (chance(0.4) && step_any()) {
      }
      break;
  }
}

void drain() {
  run_until(nullptr, "drain", [] {
    const auto all = all_queues();
    return std::all_of(all.begin(), all.end(), [](const CUstream_st* s) { return s->queue.empty(); });
  });
}

void progress() {
  step_any();
}

void enqueue(cudaStream_t stream, const char* what, std::function<bool()> operation) {
  submit(stream, {what, nullptr, 0}, {}, std::move(operation));
}

}  // namespace emulator
