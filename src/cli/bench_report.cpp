#include "cli/bench_report.h"

#include <algorithm>

#include "util/text.h"

namespace artel {
namespace {

std::string padded(const std::string& text, std::size_t width) {
  return text + std::string(text.size() < width ? width - text.size() : 1, ' ');
}

std::string right(const std::string& text, std::size_t width) {
  return std::string(text.size() < width ? width - text.size() : 1, ' ') + text;
}

constexpr int many_threads = 16;

void add_times(Json& json, double seconds, double shared_seconds, const StepTime& step) {
  json["seconds"] = seconds;
  json["share"] = seconds / step.seconds;
  json["single_threaded_share_of_16"] = (seconds - shared_seconds) / step.seconds_on(many_threads);
}

Json row_json(const TraceRow& row, const StepTime& step) {
  const auto num_steps = static_cast<double>(step.num_steps);
  Json json;
  json["name"] = span_name(row.name.c_str(), row.kind);
  json["calls"] = static_cast<double>(row.calls) / num_steps;
  add_times(json, row.seconds / num_steps, row.shared_seconds / num_steps, step);
  return json;
}

std::string heading(const char* what) {
  return concat("\n  ", padded(what, 34), right("calls", 6), right("ms/step", 11), right("share", 8), "    alone/16");
}

// The columns that both tables have.
std::string row_text(const Json& row) {
  const std::string calls = row.contains("calls") ? format_fixed(row["calls"].get<double>(), 0) : "";
  return concat("  ", padded(row["name"].get<std::string>(), 34), right(calls, 6),
                right(format_fixed(1.0e3 * row["seconds"].get<double>(), 2), 11),
                right(format_fixed(100.0 * row["share"].get<double>(), 1), 8), " %",
                right(format_fixed(100.0 * row["single_threaded_share_of_16"].get<double>(), 1), 8), " %");
}

std::string rate_text(const Json& row) {
  const bool flops = row.contains("flops_per_second");
  if (!flops && !row.contains("bytes_per_second")) return "";
  const double rate = row[flops ? "flops_per_second" : "bytes_per_second"].get<double>();
  return concat(right(format_fixed(1.0e-9 * rate, 1), 9), flops ? " GFLOP/s" : " GB/s   ",
                right(format_fixed(100.0 * row["fraction_of_ceiling"].get<double>(), 0), 5), " %");
}

}  // namespace

void TimeTable::add(const std::vector<TraceEvent>& events) {
  for (const TraceRow& row : exclusive_times(events, kinds_)) {
    const auto same = std::find_if(rows_.begin(), rows_.end(), [&row](const TraceRow& other) {
      return other.name == row.name && other.kind == row.kind;
    });
    if (same == rows_.end()) {
      rows_.push_back(row);
      continue;
    }
    same->calls += row.calls;
    same->seconds += row.seconds;
    same->shared_seconds += row.shared_seconds;
    same->work.flops += row.work.flops;
    same->work.bytes += row.work.bytes;
  }
}

std::vector<TraceRow> TimeTable::rows() const {
  std::vector<TraceRow> rows = rows_;
  std::sort(rows.begin(), rows.end(), [](const TraceRow& a, const TraceRow& b) { return a.seconds > b.seconds; });
  return rows;
}

Json ops_json(const TimeTable& table, const StepTime& step) {
  Json ops = Json::array();
  double rest = step.seconds;
  double rest_shared = step.shared_seconds;
  for (const TraceRow& row : table.rows()) {
    ops.push_back(row_json(row, step));
    rest -= row.seconds / static_cast<double>(step.num_steps);
    rest_shared -= row.shared_seconds / static_cast<double>(step.num_steps);
  }
  Json other;
  other["name"] = "other";
  add_times(other, rest, rest_shared, step);
  ops.push_back(other);
  return ops;
}

Json kernels_json(const TimeTable& table, const StepTime& step, const std::optional<Ceilings>& ceilings) {
  Json kernels = Json::array();
  for (const TraceRow& row : table.rows()) {
    Json json = row_json(row, step);
    if (!ceilings || row.seconds <= 0.0) {
      kernels.push_back(json);
      continue;
    }
    if (row.work.flops > 0.0) {
      json["flops_per_second"] = row.work.flops / row.seconds;
      json["fraction_of_ceiling"] = row.work.flops / row.seconds / ceilings->flops_per_second;
    } else {
      json["bytes_per_second"] = row.work.bytes / row.seconds;
      json["fraction_of_ceiling"] = row.work.bytes / row.seconds / ceilings->bytes_per_second;
    }
    kernels.push_back(json);
  }
  return kernels;
}

std::string bench_text(const Json& bench) {
  const auto number = [&bench](const char* key) { return bench[key].get<double>(); };
  std::string out =
      concat(bench["name"].get<std::string>(), ", ", bench["precision"].get<std::string>(), ", ",
             bench["threads"].get<std::int64_t>(), " threads\n  ", format_count(number("tokens_per_second")),
             " tokens/s, ", format_count(number("model_flops_per_second")), " model FLOP/s, ",
             format_fixed(100.0 * number("fraction_of_ceiling"), 1), " % of the ceiling of ",
             format_count(number("gemm_ceiling_flops_per_second")), "\n  peak memory ",
             format_bytes(number("peak_memory_bytes")), ", cached ", format_bytes(number("cached_memory_bytes")),
             "\n  a step: ", format_fixed(number("minor_faults_per_step"), 1), " minor page faults, ",
             format_fixed(number("system_allocations_per_step"), 1), " allocations from the system; ",
             bench["primitives_created"].get<std::int64_t>(), " primitives created after the warm-up\n");
  out += heading("operation") + "\n";
  for (const Json& row : bench["ops"]) out += row_text(row) + "\n";
  out += heading("kernel") + "         rate          of ceiling\n";
  for (const Json& row : bench["kernels"]) out += row_text(row) + rate_text(row) + "\n";
  if (bench["device"] != "cpu") out += "  times are those of the host, which waits for the GPU only where it must\n";
  return out +
         concat("  alone/16: only one thread works, as part of a step on 16 threads (by Amdahl's law)\n  ceilings: ",
                format_fixed(1.0e-9 * number("gemm_ceiling_flops_per_second"), 1), " GFLOP/s, ",
                format_fixed(1.0e-9 * number("copy_ceiling_bytes_per_second"), 1), " GB/s\n");
}

}  // namespace artel
