#include "emulator/stream.h"

#include <algorithm>
#include <utility>

#include "emulator/heap.h"
#include "emulator/host_memory.h"

namespace emulator {
namespace {

struct Queues {
  std::unique_ptr<CUstream_st> legacy;
  std::vector<std::unique_ptr<CUstream_st>> live;
  std::vector<std::unique_ptr<CUstream_st>> destroyed;  // until their queues are empty
  Clock forgotten;                                      // what streams that are gone had done
  std::uint64_t num_made = 0;
};

Queues& queues() {
  static Queues instance;
  return instance;
}

std::function<void(const char*)>& wait_hook() {
  static std::function<void(const char*)> instance;
  return instance;
}

/// Lets go of destroyed streams that have nothing left to do.
void forget_empty() {
  Queues& q = queues();
  for (auto it = q.destroyed.begin(); it != q.destroyed.end();) {
    if (!(*it)->queue.empty()) {
      ++it;
      continue;
    }
    join(q.forgotten, (*it)->clock);
    remove_timeline((*it)->timeline);
    it = q.destroyed.erase(it);
  }
}

void push(CUstream_st& stream, Operation operation, Label label) {
  forget_empty();
  label.stream = stream.id;
  join(stream.clock, host_clock());
  operation.actor = next_actor(stream.timeline, stream.clock, std::move(label));
  stream.queue.push_back(std::move(operation));
}

Operation make_operation(std::vector<MemoryUse> uses, std::function<bool()> run) {
  Operation operation;
  operation.uses = std::move(uses);
  operation.run = std::move(run);
  return operation;
}

Operation make_operation(Step step, const CUevent_st& event) {
  Operation operation;
  operation.step = step;
  operation.event = event.state;
  operation.event_count = event.state->num_records;
  return operation;
}

bool is_blocking(const CUstream_st& stream) {
  return (stream.flags & cudaStreamNonBlocking) == 0;
}

/// The legacy stream waits for all blocking streams, and they for it.
void push_on_legacy(Operation operation, Label label) {
  CUstream_st& legacy = legacy_stream();
  const std::string call = label.call;
  for (const auto& stream : live_streams()) {
    if (!is_blocking(*stream)) continue;
    run_until(stream.get(), call.c_str(), [&] { return stream->queue.empty(); });
    join(legacy.clock, stream->clock);
  }
  push(legacy, std::move(operation), std::move(label));
  run_until(&legacy, call.c_str(), [&] { return legacy.queue.empty(); });
  for (const auto& stream : live_streams()) {
    if (is_blocking(*stream)) join(stream->clock, legacy.clock);
  }
}

bool overlap(const MemoryUse& use, const void* p, std::size_t bytes) {
  const char* const a = static_cast<const char*>(use.begin);
  const char* const b = static_cast<const char*>(p);
  return a < b + bytes && b < a + use.bytes;
}

/// An operation in a queue that uses the memory, or writes it, or null.
const Operation* find_pending(const void* p, std::size_t bytes, bool writes_only) {
  for (const CUstream_st* stream : all_queues()) {
    for (const Operation& operation : stream->queue) {
      for (const MemoryUse& use : operation.uses) {
        if ((use.write || !writes_only) && overlap(use, p, bytes)) return &operation;
      }
    }
  }
  return nullptr;
}

}  // namespace

cudaStream_t make_stream(unsigned flags, int priority) {
  make_heap();
  forget_empty();
  auto stream = std::make_unique<CUstream_st>();
  stream->id = ++queues().num_made;
  stream->flags = flags;
  stream->priority = priority;
  stream->timeline = add_timeline();
  queues().live.push_back(std::move(stream));
  return queues().live.back().get();
}

CUstream_st& legacy_stream() {
  auto& legacy = queues().legacy;
  if (legacy == nullptr) {
    make_heap();
    legacy = std::make_unique<CUstream_st>();
    legacy->timeline = add_timeline();
  }
  return *legacy;
}

const std::vector<std::unique_ptr<CUstream_st>>& live_streams() {
  return queues().live;
}

std::vector<CUstream_st*> all_queues() {
  std::vector<CUstream_st*> all;
  Queues& q = queues();
  if (q.legacy != nullptr) all.push_back(q.legacy.get());
  for (const auto& stream : q.live) all.push_back(stream.get());
  for (const auto& stream : q.destroyed) all.push_back(stream.get());
  return all;
}

void destroy_stream(cudaStream_t stream) {
  auto& live = queues().live;
  const auto it = std::find_if(live.begin(), live.end(), [&](const auto& s) { return s.get() == stream; });
  if (it == live.end()) return;
  queues().destroyed.push_back(std::move(*it));
  live.erase(it);
  forget_empty();
}

CUstream_st* find_stream(cudaStream_t stream, const char* call) {
  if (stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread) return &legacy_stream();
  for (const auto& s : live_streams()) {
    if (s.get() == stream) return stream;
  }
  error("stream", "%s: the stream was destroyed, or never made", call);
  return nullptr;
}

cudaError_t submit(cudaStream_t handle, Label label, std::vector<MemoryUse> uses, std::function<bool()> run) {
  if (is_running()) {
    error("stream", "%s is called by an operation (%s); host functions must not use CUDA", label.call.c_str(),
          text(running_label()).c_str());
    return cudaErrorNotPermitted;
  }
  CUstream_st* const stream = find_stream(handle, label.call.c_str());
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  Operation operation = make_operation(std::move(uses), std::move(run));
  if (stream == &legacy_stream()) {
    error("stream", "%s on the legacy default stream, which other streams do not run beside; name a stream",
          text(label).c_str());
    push_on_legacy(std::move(operation), std::move(label));
    return cudaSuccess;
  }
  push(*stream, std::move(operation), std::move(label));
  run_some();
  return cudaSuccess;
}

void submit_blocking(Label label, std::vector<MemoryUse> uses, std::function<bool()> run) {
  before_wait(label.call.c_str());
  push_on_legacy(make_operation(std::move(uses), std::move(run)), std::move(label));
  join(host_clock(), legacy_stream().clock);
}

void submit_record(CUstream_st& stream, CUevent_st& event) {
  ++event.state->num_records;
  push(stream, make_operation(Step::record, event), {"cudaEventRecord", nullptr, 0});
  event.state->clock = stream.clock;
  run_some();
}

void submit_wait(CUstream_st& stream, CUevent_st& event) {
  join(stream.clock, event.state->clock);
  push(stream, make_operation(Step::wait, event), {"cudaStreamWaitEvent", nullptr, 0});
  run_some();
}

void wait_for_stream(CUstream_st& stream, const char* call) {
  before_wait(call);
  if (&stream == &legacy_stream()) {
    // It is behind all blocking streams.
    push_on_legacy(make_operation({}, [] { return true; }), {call, nullptr, 0});
  } else {
    run_until(&stream, call, [&] { return stream.queue.empty(); });
  }
  join(host_clock(), stream.clock);
}

void wait_for_event(CUevent_st& event, const char* call) {
  before_wait(call);
  const EventState& state = *event.state;
  CUstream_st* recorder = nullptr;
  for (CUstream_st* stream : all_queues()) {
    for (const Operation& operation : stream->queue) {
      if (operation.step == Step::record && operation.event == event.state) recorder = stream;
    }
  }
  run_until(recorder, call, [&] { return state.num_reached >= state.num_records; });
  join(host_clock(), state.clock);
}

void wait_for_device(const char* call) {
  before_wait(call);
  run_until(nullptr, call, [] {
    const auto all = all_queues();
    return std::all_of(all.begin(), all.end(), [](const CUstream_st* s) { return s->queue.empty(); });
  });
  for (const CUstream_st* stream : all_queues()) join(host_clock(), stream->clock);
  forget_empty();
  join(host_clock(), queues().forgotten);
}

void set_wait_hook(std::function<void(const char* call)> hook) {
  wait_hook() = std::move(hook);
}

void before_wait(const char* call) {
  if (is_running()) {
    error("stream", "%s is called by an operation (%s); host functions must not use CUDA", call,
          text(running_label()).c_str());
  }
  ++stats().host_waits;
  if (wait_hook()) wait_hook()(call);
}

bool is_use_pending(const void* p, std::size_t bytes, bool writes_only) {
  return find_pending(p, bytes, writes_only) != nullptr;
}

void host_uses(const char* call, const void* p, std::size_t bytes, bool write) {
  if (bytes == 0 || !is_pinned(p)) return;
  if (const Operation* const pending = find_pending(p, bytes, !write)) {
    error("ordering", "%s %s pinned memory that %s still uses: the host has not waited for it", call,
          write ? "writes" : "reads", text(pending->actor.label).c_str());
    return;
  }
  const char* const begin = static_cast<const char*>(p);
  use_memory(host_actor(call), {{{begin, begin + bytes}, write}});
}

}  // namespace emulator
