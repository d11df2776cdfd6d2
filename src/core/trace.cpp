#include "core/trace.h"

#include <algorithm>
#include <map>
#include <utility>

#include "util/json.h"
#include "util/text.h"

namespace artel {

const char* trace_kind_name(TraceKind kind) {
  constexpr const char* names[] = {"phase", "forward", "backward", "update", "communication", "kernel"};
  return names[static_cast<std::size_t>(kind)];
}

std::string span_name(const char* name, TraceKind kind) {
  return concat(name, kind == TraceKind::backward ? "_backward" : "");
}

Tracer::Tracer(const Allocator& allocator, std::int64_t max_events, const ThreadPool* pool)
    : allocator_(allocator), max_events_(max_events), pool_(pool) {
  // Touched now: page faults inside the spans would be counted as those of the operations.
  events_.resize(static_cast<std::size_t>(max_events));
  events_.clear();
}

std::int64_t Tracer::now_ns() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start_).count();
}

std::int64_t Tracer::begin(TraceKind kind, const char* name, TraceWork work) {
  if (static_cast<std::int64_t>(events_.size()) == max_events_) {
    ++num_dropped_;
    return -1;
  }
  TraceEvent& event = events_.emplace_back();
  event.kind = kind;
  event.name = name;
  event.work = work;
  event.shared_ns = -shared_ns();
  event.begin_ns = now_ns();
  return static_cast<std::int64_t>(events_.size()) - 1;
}

void Tracer::end(std::int64_t index) {
  if (index < 0 || index >= static_cast<std::int64_t>(events_.size())) return;  // dropped, or cleared meanwhile
  TraceEvent& event = events_[static_cast<std::size_t>(index)];
  event.end_ns = now_ns();
  event.shared_ns += shared_ns();
  const AllocatorStats stats = allocator_.stats();
  event.active_bytes = stats.active_bytes;
  event.cached_bytes = stats.cached_bytes;
}

void Tracer::clear() {
  events_.clear();
  num_dropped_ = 0;
}

std::vector<TraceRow> exclusive_times(const std::vector<TraceEvent>& events, const std::vector<TraceKind>& kinds) {
  std::map<std::pair<std::string, TraceKind>, TraceRow> rows;
  std::vector<std::pair<const TraceEvent*, TraceRow*>> open;  // the spans around the current one
  for (const TraceEvent& event : events) {
    if (event.end_ns < 0 || std::find(kinds.begin(), kinds.end(), event.kind) == kinds.end()) continue;
    while (!open.empty() && open.back().first->end_ns <= event.begin_ns) open.pop_back();
    const double seconds = 1.0e-9 * static_cast<double>(event.end_ns - event.begin_ns);
    const double shared_seconds = 1.0e-9 * static_cast<double>(event.shared_ns);
    if (!open.empty()) {
      open.back().second->seconds -= seconds;
      open.back().second->shared_seconds -= shared_seconds;
    }
    TraceRow& row = rows[{event.name, event.kind}];
    row.name = event.name;
    row.kind = event.kind;
    row.calls += 1;
    row.seconds += seconds;
    row.shared_seconds += shared_seconds;
    row.work.flops += event.work.flops;
    row.work.bytes += event.work.bytes;
    open.emplace_back(&event, &row);
  }
  std::vector<TraceRow> result;
  for (auto& [key, row] : rows) result.push_back(std::move(row));
  std::sort(result.begin(), result.end(), [](const TraceRow& a, const TraceRow& b) { return a.seconds > b.seconds; });
  return result;
}

std::string chrome_trace(const Tracer& tracer, const std::string& process_name) {
  // One event a line, in microseconds; process and thread are numbers that the format wants.
  const auto microseconds = [](std::int64_t ns) { return format_fixed(1.0e-3 * static_cast<double>(ns), 3); };
  std::string out =
      concat("{\"displayTimeUnit\": \"ms\", \"otherData\": {\"dropped_spans\": ", tracer.num_dropped(),
             "},\n\"traceEvents\": [\n{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 0, \"tid\": 0, "
             "\"args\": {\"name\": ",
             dump_json(Json(process_name)), "}}");
  for (const TraceEvent& event : tracer.events()) {
    if (event.end_ns < 0) continue;
    out += concat(",\n{\"name\": \"", span_name(event.name, event.kind), "\", \"cat\": \"", trace_kind_name(event.kind),
                  "\", \"ph\": \"X\", \"pid\": 0, \"tid\": 0, \"ts\": ", microseconds(event.begin_ns),
                  ", \"dur\": ", microseconds(event.end_ns - event.begin_ns), "}");
    out +=
        concat(",\n{\"name\": \"memory\", \"ph\": \"C\", \"pid\": 0, \"ts\": ", microseconds(event.end_ns),
               ", \"args\": {\"active_bytes\": ", event.active_bytes, ", \"cached_bytes\": ", event.cached_bytes, "}}");
  }
  return out + "\n]}\n";
}

}  // namespace artel
