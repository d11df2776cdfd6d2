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

Json row_json(const TraceRow& row, std::int64_t num_steps, double step_seconds) {
  const double seconds = row.seconds / static_cast<double>(num_steps);
  Json json;
  json["name"] = span_name(row.name.c_str(), row.kind);
  json["calls"] = static_cast<double>(row.calls) / static_cast<double>(num_steps);
  json["seconds"] = seconds;
  json["share"] = seconds / step_seconds;
  return json;
}

// "name  calls  ms  share": the columns that both tables have.
std::string row_text(const Json& row) {
  const std::string calls = row.contains("calls") ? format_fixed(row["calls"].get<double>(), 0) : "";
  return concat("  ", padded(row["name"].get<std::string>(), 34), right(calls, 6),
                right(format_fixed(1.0e3 * row["seconds"].get<double>(), 2), 11),
                right(format_fixed(100.0 * row["share"].get<double>(), 1), 8), " %");
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
    same->work.flops += row.work.flops;
    same->work.bytes += row.work.bytes;
  }
}

std::vector<TraceRow> TimeTable::rows() const {
  std::vector<TraceRow> rows = rows_;
  std::sort(rows.begin(), rows.end(), [](const TraceRow& a, const TraceRow& b) { return a.seconds > b.seconds; });
  return rows;
}

Json ops_json(const TimeTable& table, std::int64_t num_steps, double step_seconds) {
  Json ops = Json::array();
  double rest = step_seconds;
  for (const TraceRow& row : table.rows()) {
    ops.push_back(row_json(row, num_steps, step_seconds));
    rest -= row.seconds / static_cast<double>(num_steps);
  }
  Json other;
  other["name"] = "other";
  other["seconds"] = rest;
  other["share"] = rest / step_seconds;
  ops.push_back(other);
  return ops;
}

Json kernels_json(const TimeTable& table, std::int64_t num_steps, double step_seconds, const Ceilings& ceilings) {
  Json kernels = Json::array();
  for (const TraceRow& row : table.rows()) {
    Json json = row_json(row, num_steps, step_seconds);
    if (row.seconds > 0.0 && row.work.flops > 0.0) {
      json["flops_per_second"] = row.work.flops / row.seconds;
      json["fraction_of_ceiling"] = row.work.flops / row.seconds / ceilings.flops_per_second;
    } else if (row.seconds > 0.0) {
      json["bytes_per_second"] = row.work.bytes / row.seconds;
      json["fraction_of_ceiling"] = row.work.bytes / row.seconds / ceilings.bytes_per_second;
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
  out += concat("\n  ", padded("operation", 34), right("calls", 6), right("ms/step", 11), right("share", 8), "\n");
  for (const Json& row : bench["ops"]) out += row_text(row) + "\n";
  out += concat("\n  ", padded("kernel", 34), right("calls", 6), right("ms/step", 11), right("share", 8),
                "         rate          of ceiling\n");
  for (const Json& row : bench["kernels"]) out += row_text(row) + rate_text(row) + "\n";
  return out + concat("  ceilings: ", format_fixed(1.0e-9 * number("gemm_ceiling_flops_per_second"), 1), " GFLOP/s, ",
                      format_fixed(1.0e-9 * number("copy_ceiling_bytes_per_second"), 1), " GB/s\n");
}

}  // namespace artel
