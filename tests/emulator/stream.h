#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emulator/internal.h"
#include "emulator/ordering.h"

// Streams are queues of operations. When one runs is the schedule's choice (Config::streams); what it must not run
// before is the program's, by events and waits.
namespace emulator {

/// What an operation does with a piece of memory of the device, or of pinned memory of the host.
struct MemoryUse {
  const void* begin = nullptr;
  std::size_t bytes = 0;
  bool write = false;
  const char* what = "";  ///< "source", for messages
};

/// Shared by the handle and by what has been enqueued, which goes on after cudaEventDestroy.
struct EventState {
  std::uint64_t num_records = 0;  ///< calls of cudaEventRecord
  std::uint64_t num_reached = 0;  ///< of those, how many the stream has come to
  double milliseconds = 0;        ///< when it came to the last one
  Clock clock;                    ///< what the last record is after
};

enum class Step { run, record, wait };

struct Operation {
  Step step = Step::run;
  Actor actor;
  std::vector<MemoryUse> uses;
  std::function<bool()> run;
  std::shared_ptr<EventState> event;  ///< of a record or wait
  std::uint64_t event_count = 0;      ///< which record of the event
  bool started = false;
};

}  // namespace emulator

struct CUstream_st {
  std::uint64_t id = emulator::legacy_stream_id;
  unsigned flags = 0;
  int priority = 0;
  std::size_t timeline = 0;
  emulator::Clock clock;  ///< what the next operation is after
  std::deque<emulator::Operation> queue;
};

struct CUevent_st {
  bool has_timing = true;
  std::shared_ptr<emulator::EventState> state = std::make_shared<emulator::EventState>();
};

namespace emulator {

// ---- Handles ----
cudaStream_t make_stream(unsigned flags, int priority);
CUstream_st& legacy_stream();
/// Those that cudaStreamDestroy was called for are no longer among them.
const std::vector<std::unique_ptr<CUstream_st>>& live_streams();
/// What is enqueued still runs.
void destroy_stream(cudaStream_t stream);
/// The stream of a handle, that of the legacy default stream for a null one; reports (stream) and returns null for one
/// that is destroyed. `call` is named.
CUstream_st* find_stream(cudaStream_t stream, const char* call);

// ---- Enqueueing ----
/// Puts an operation on a stream. Its uses are checked when it starts: bounds and life of the memory (memcheck), order
/// with other operations (ordering); after a failed memory check it is not run. `run` returns false while it cannot
/// finish yet; it is called again later.
/// Errors: reports (stream) and gives cudaErrorInvalidResourceHandle for a destroyed stream. On the legacy default
/// stream, reports (stream) and runs it at once.
cudaError_t submit(cudaStream_t stream, Label label, std::vector<MemoryUse> uses, std::function<bool()> run);
/// The same on the legacy default stream, for calls that belong there; the host waits for it.
void submit_blocking(Label label, std::vector<MemoryUse> uses, std::function<bool()> run);
void submit_record(CUstream_st& stream, CUevent_st& event);
void submit_wait(CUstream_st& stream, CUevent_st& event);

// ---- For an operation that is running ----
/// Uses that were not known when it was enqueued: checks and records them. false: one failed its memory check.
bool use_now(const std::vector<MemoryUse>& uses);
/// What it turned out to use, when that is within bounds for sure.
void record_uses(const std::vector<Access>& uses);
const Label& running_label();
bool is_running();

// ---- Waiting ----
/// Runs the stream until its queue is empty; the host then knows what the stream does.
void wait_for_stream(CUstream_st& stream, const char* call);
void wait_for_event(CUevent_st& event, const char* call);
void wait_for_device(const char* call);
/// Runs operations until `done`, for waits on something outside of streams. `call` is named when nothing moves.
/// `first` is run before others if it can be, or null.
void run_until(CUstream_st* first, const char* call, const std::function<bool()>& done);
/// After something was enqueued: what the schedule runs at once.
void run_some();
/// Called with the name of each call in which the host waits (NCCL looks for groups that were left open).
void set_wait_hook(std::function<void(const char* call)> hook);
void before_wait(const char* call);

/// All streams with their queues, destroyed ones too while they are not empty; the legacy one first.
std::vector<CUstream_st*> all_queues();
/// Whether an operation that is enqueued and has not ended uses the memory; with `writes_only`, writes it.
bool is_use_pending(const void* p, std::size_t bytes, bool writes_only);
/// The host itself reads or writes memory: reports (ordering) operations that it has not waited for. Memory that is
/// neither pinned nor of the device is not looked at.
void host_uses(const char* call, const void* p, std::size_t bytes, bool write);

}  // namespace emulator
