#include "core/trace.h"

#include <chrono>
#include <cmath>
#include <map>
#include <thread>

#include "support/catch.h"
#include "util/json.h"

using namespace artel;

namespace {

void pause(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

TraceEvent event(const char* name, TraceKind kind, std::int64_t begin_ns, std::int64_t end_ns) {
  TraceEvent result;
  result.name = name;
  result.kind = kind;
  result.begin_ns = begin_ns;
  result.end_ns = end_ns;
  result.work = {10.0, 1.0};
  return result;
}

}  // namespace

TEST_CASE("Spans record what is open inside what, and the allocator's memory at their ends") {
  HostAllocator allocator;
  Tracer tracer(allocator);
  void* memory = nullptr;
  {
    const TraceSpan outer(&tracer, TraceKind::phase, "outer");
    pause(2);
    {
      const TraceSpan inner(&tracer, TraceKind::forward, "inner");
      memory = allocator.allocate(1024);
      pause(2);
    }
    allocator.deallocate(memory, 1024);
    CHECK(tracer.events()[0].end_ns == -1);
  }
  { const TraceSpan nothing(nullptr, TraceKind::phase, "nothing"); }
  REQUIRE(tracer.events().size() == 2);
  const TraceEvent& outer = tracer.events()[0];
  const TraceEvent& inner = tracer.events()[1];
  CHECK(std::string(outer.name) == "outer");
  CHECK(inner.kind == TraceKind::forward);
  CHECK(inner.begin_ns >= outer.begin_ns + 2'000'000);
  CHECK(inner.end_ns >= inner.begin_ns + 2'000'000);
  CHECK(outer.end_ns >= inner.end_ns);
  CHECK(inner.active_bytes == 1024);
  CHECK(outer.active_bytes == 0);
  CHECK(outer.cached_bytes == 1024);
  tracer.clear();
  CHECK(tracer.events().empty());
}

TEST_CASE("Spans note what more threads could shorten: loops of more than one task") {
  for (const int num_threads : {1, 2}) {
    CAPTURE(num_threads);
    HostAllocator allocator;
    ThreadPool pool(num_threads);
    Tracer tracer(allocator, 16, &pool);
    {
      const TraceSpan outer(&tracer, TraceKind::forward, "outer");
      pause(2);
      {
        const TraceSpan inner(&tracer, TraceKind::backward, "inner");
        pool.parallel_for(4, [](std::int64_t, int) { pause(2); });
        pool.parallel_for(1, [](std::int64_t, int) { pause(2); });
      }
    }
    const TraceEvent& outer = tracer.events()[0];
    const TraceEvent& inner = tracer.events()[1];
    CHECK(inner.shared_ns >= 2 * 4'000'000 / num_threads);
    CHECK(inner.shared_ns <= inner.end_ns - inner.begin_ns - 2'000'000);
    CHECK(outer.shared_ns == inner.shared_ns);
    for (const TraceRow& row : exclusive_times(tracer.events(), {TraceKind::forward, TraceKind::backward})) {
      const double expected = row.name == "inner" ? 1.0e-9 * static_cast<double>(inner.shared_ns) : 0.0;
      CHECK(std::fabs(row.shared_seconds - expected) < 1.0e-12);
    }
  }
}

TEST_CASE("A full tracer counts what it drops and keeps what it has") {
  HostAllocator allocator;
  Tracer tracer(allocator, 2);
  for (int i = 0; i < 5; ++i) {
    const TraceSpan outer(&tracer, TraceKind::phase, "outer");
    const TraceSpan inner(&tracer, TraceKind::forward, "inner");
  }
  CHECK(tracer.events().size() == 2);
  CHECK(tracer.num_dropped() == 8);
  CHECK(tracer.events()[0].end_ns >= tracer.events()[1].end_ns);
  CHECK(tracer.events()[1].end_ns >= 0);
}

TEST_CASE("Exclusive times leave out spans inside, and add up to the time of the outermost") {
  const std::vector<TraceEvent> events = {
      event("step", TraceKind::phase, 0, 1000),     event("a", TraceKind::forward, 100, 400),
      event("kernel", TraceKind::kernel, 110, 390), event("b", TraceKind::forward, 200, 250),
      event("b", TraceKind::forward, 250, 300),     event("a", TraceKind::backward, 500, 700),
      event("open", TraceKind::forward, 750, -1),   event("a", TraceKind::forward, 800, 900),
      event("late", TraceKind::update, 2000, 2000)};
  std::map<std::string, TraceRow> rows;
  double sum = 0.0;
  for (const TraceRow& row :
       exclusive_times(events, {TraceKind::phase, TraceKind::forward, TraceKind::backward, TraceKind::update})) {
    rows[row.name + "/" + trace_kind_name(row.kind)] = row;
    sum += row.seconds;
  }
  REQUIRE(rows.size() == 5);
  CHECK(sum == Approx(1000.0e-9));
  CHECK(rows["step/phase"].seconds == Approx(400.0e-9));
  CHECK(rows["a/forward"].seconds == Approx(300.0e-9));
  CHECK(rows["a/forward"].calls == 2);
  CHECK(rows["a/forward"].work.flops == 20.0);
  CHECK(rows["b/forward"].seconds == Approx(100.0e-9));
  CHECK(rows["a/backward"].seconds == Approx(200.0e-9));
  CHECK(rows["late/update"].calls == 1);

  const auto kernels = exclusive_times(events, {TraceKind::kernel});
  REQUIRE(kernels.size() == 1);
  CHECK(kernels[0].seconds == Approx(280.0e-9));
  const auto sorted = exclusive_times(events, {TraceKind::forward});
  CHECK(sorted.front().seconds >= sorted.back().seconds);
}

TEST_CASE("A trace is valid JSON in Chrome's format") {
  HostAllocator allocator;
  Tracer tracer(allocator);
  {
    const TraceSpan step(&tracer, TraceKind::phase, "step");
    const TraceSpan linear(&tracer, TraceKind::backward, "linear");
    pause(1);
  }
  const TraceSpan open(&tracer, TraceKind::phase, "open");
  const Json trace = parse_json(chrome_trace(tracer, "a \"name\""), "trace");
  const Json& events = trace["traceEvents"];
  REQUIRE(events.size() == 5);
  CHECK(events[0]["ph"] == "M");
  CHECK(events[0]["args"]["name"] == "a \"name\"");
  CHECK(events[1]["name"] == "step");
  CHECK(events[1]["ph"] == "X");
  CHECK(events[1]["dur"].get<double>() >= 1000.0);
  CHECK(events[2]["ph"] == "C");
  CHECK(events[2]["args"]["active_bytes"] == 0);
  CHECK(events[3]["name"] == "linear_backward");
  CHECK(events[3]["cat"] == "backward");
  CHECK(events[3]["ts"].get<double>() >= events[1]["ts"].get<double>());
  CHECK(trace["otherData"]["dropped_spans"] == 0);
}
