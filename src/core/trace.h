#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "core/thread_pool.h"

namespace artel {

/// What a span of time was spent on.
enum class TraceKind : std::uint8_t {
  phase,          ///< a part of the training loop
  forward,        ///< an operation
  backward,       ///< the backward of an operation
  update,         ///< optimizer and gradient arena
  communication,  ///< start of, or wait for, a communication operation
  kernel,         ///< one call of a Backend method
};
const char* trace_kind_name(TraceKind kind);
/// The name under which traces and tables show a span: that of the backward of `linear` is `linear_backward`.
std::string span_name(const char* name, TraceKind kind);

/// Work of a span, for its rate: arithmetic of a product, or bytes that have to be read and written at least.
struct TraceWork {
  double flops = 0.0;
  double bytes = 0.0;
};

struct TraceEvent {
  const char* name = "";
  std::int64_t begin_ns = 0;   ///< since the tracer was made
  std::int64_t end_ns = -1;    ///< -1: still open
  std::int64_t shared_ns = 0;  ///< of it in loops over tasks, which more threads would shorten; needs a pool
  std::int64_t active_bytes = 0;
  std::int64_t cached_bytes = 0;  ///< of the allocator, at the end
  TraceWork work;
  TraceKind kind = TraceKind::phase;
};

/// Collects spans of the thread that runs the training steps; no other thread may use it. Names are not copied: use
/// literals. All memory is taken, and touched, at construction; spans beyond `max_events` are counted and dropped.
class Tracer {
 public:
  static constexpr std::int64_t default_max_events = 1 << 17;

  /// `pool`, if given: the time of its loops is noted with every span.
  explicit Tracer(const Allocator& allocator, std::int64_t max_events = default_max_events,
                  const ThreadPool* pool = nullptr);

  /// Opens a span inside the one that is open; returns what end() wants.
  std::int64_t begin(TraceKind kind, const char* name, TraceWork work);
  void end(std::int64_t index);

  /// In the order in which they began; those still open have no end.
  const std::vector<TraceEvent>& events() const { return events_; }
  std::int64_t num_dropped() const { return num_dropped_; }
  std::int64_t max_events() const { return max_events_; }
  void clear();

 private:
  std::int64_t now_ns() const;
  std::int64_t shared_ns() const { return pool_ != nullptr ? pool_->shared_ns() : 0; }

  const Allocator& allocator_;
  std::int64_t max_events_;
  const ThreadPool* pool_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::vector<TraceEvent> events_;
  std::int64_t num_dropped_ = 0;
};

/// A span that lasts as long as this object; nothing happens without a tracer.
class TraceSpan {
 public:
  TraceSpan(Tracer* tracer, TraceKind kind, const char* name, TraceWork work = {}) : tracer_(tracer) {
    if (tracer_ != nullptr) index_ = tracer_->begin(kind, name, work);
  }
  ~TraceSpan() {
    if (tracer_ != nullptr) tracer_->end(index_);
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  Tracer* tracer_;
  std::int64_t index_ = -1;
};

/// Time by name and kind. The seconds leave out what spans inside took.
struct TraceRow {
  std::string name;
  TraceKind kind = TraceKind::phase;
  std::int64_t calls = 0;
  double seconds = 0.0;
  double shared_seconds = 0.0;  ///< of them in loops over tasks
  TraceWork work;
};

/// One row per name and kind among spans of these kinds, largest first. Spans of other kinds count as part of the span
/// around them; spans still open are left out.
std::vector<TraceRow> exclusive_times(const std::vector<TraceEvent>& events, const std::vector<TraceKind>& kinds);

/// The spans as a JSON document in Chrome's trace event format, for chrome://tracing and ui.perfetto.dev, with counters
/// of the allocator's memory.
std::string chrome_trace(const Tracer& tracer, const std::string& process_name);

}  // namespace artel
