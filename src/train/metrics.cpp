#include "train/metrics.h"

#include <algorithm>
#include <cmath>

#include "util/error.h"

namespace artel {
namespace {

// Keeps the whole lines of an existing file and finds its last attempt.
std::int64_t last_attempt(FileLayer& files, const std::string& path) {
  if (!files.exists(path)) return 0;
  const std::string text = files.read(path);
  const std::size_t end = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  if (end < text.size()) write_file_atomic(files, path, std::string_view(text).substr(0, end));
  std::int64_t attempt = 0;
  std::size_t begin = 0;
  while (begin < end) {
    const std::size_t line_end = text.find('\n', begin);
    const std::string_view line = std::string_view(text).substr(begin, line_end - begin);
    begin = line_end + 1;
    if (!line.empty()) attempt = std::max(attempt, json_value<std::int64_t>(parse_json(line, path), "attempt", path));
  }
  return attempt;
}

}  // namespace

MetricsFile::MetricsFile(FileLayer& files, const std::string& path)
    : files_(files), file_(-1, path), attempt_(last_attempt(files, path) + 1) {
  file_ = files.open_append(path);
}

std::string MetricsFile::write(Json row) {
  row["attempt"] = attempt_;
  const std::string line = dump_json(row) + "\n";
  try {
    files_.write(file_, line.data(), line.size());
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

Json moe_row(std::int64_t layer, const LayerStatistics& statistics, bool with_load) {
  double total = 0.0;
  double largest = 0.0;
  std::int64_t dead = 0;
  for (const std::int64_t count : statistics.expert_counts) {
    total += static_cast<double>(count);
    largest = std::max(largest, static_cast<double>(count));
    if (count == 0) ++dead;
  }
  const auto num_experts = static_cast<double>(statistics.expert_counts.size());
  const double mean = total / num_experts;
  double entropy = 0.0;
  for (const std::int64_t count : statistics.expert_counts) {
    const double share = total > 0.0 ? static_cast<double>(count) / total : 0.0;
    if (share > 0.0) entropy -= share * std::log(share);
  }
  Json row;
  row["layer"] = layer;
  row["max_violation"] = mean > 0.0 ? (largest - mean) / mean : 0.0;
  row["entropy"] = num_experts > 1.0 ? entropy / std::log(num_experts) : 1.0;
  row["dead_experts"] = dead;
  if (with_load) row["load"] = statistics.expert_counts;
  return row;
}

}  // namespace artel
