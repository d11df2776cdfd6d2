#include "train/metrics.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "util/error.h"
#include "util/one_line.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr std::size_t max_pending_bytes = std::size_t{16} << 20;

// Finds the last attempt in an existing file, then keeps its whole lines, whose size it returns.
std::int64_t last_attempt(FileLayer& files, const std::string& path, std::size_t& size) {
  if (!files.exists(path)) return 0;
  const std::string text = files.read(path);
  const std::size_t end = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  size = end;
  std::int64_t attempt = 0;
  std::size_t begin = 0;
  for (std::int64_t number = 1; begin < end; ++number) {
    const std::size_t line_end = text.find('\n', begin);
    const std::string_view line = std::string_view(text).substr(begin, line_end - begin);
    begin = line_end + 1;
    if (!line.empty()) attempt = std::max(attempt, metrics_value(line, "attempt", path, number));
  }
  if (end < text.size()) write_file_atomic(files, path, std::string_view(text).substr(0, end));
  return attempt;
}

}  // namespace

std::int64_t metrics_value(std::string_view line, std::string_view key, const std::string& path, std::int64_t number) {
  const std::string where = concat(path, ":", number);
  try {
    return json_value<std::int64_t>(parse_json(line, where), key, where);
  } catch (const Error&) {
    fail(where, concat("required a row in JSON with member \"", key, "\", an integer, found ", one_line(line, 60),
                       "; remove that line"));
  }
}

MetricsFile::MetricsFile(FileLayer& files, const std::string& path)
    : files_(files), file_(-1, path), attempt_(last_attempt(files, path, size_) + 1) {
  file_ = files.open_append(path);
}

void MetricsFile::write_pending() {
  if (torn_) files_.truncate(file_, size_);
  torn_ = true;
  files_.write(file_, pending_.data(), pending_.size());
  torn_ = false;
  size_ += pending_.size();
  pending_.clear();
  num_pending_ = 0;
}

std::string MetricsFile::write(Json row) {
  row["attempt"] = attempt_;
  const std::string line = dump_json(row) + "\n";
  const bool fits = pending_.size() + line.size() <= max_pending_bytes;
  if (fits) {
    pending_ += line;
    ++num_pending_;
  } else {
    ++num_lost_;
  }
  try {
    write_pending();
  } catch (const Error& error) {
    return std::exchange(failing_, true) ? std::string() : error.what();
  }
  failing_ = false;
  if (num_lost_ == 0) return {};
  Json lost;
  lost["step"] = row.value("step", Json());
  lost["event"] = "rows_lost";
  lost["count"] = std::exchange(num_lost_, 0);
  return write(lost);
}

std::int64_t MetricsFile::flush() {
  try {
    if (!pending_.empty()) write_pending();
  } catch (const Error&) {
    return num_lost_ + num_pending_;
  }
  return num_lost_;
}

LoadSummary summarise_load(const std::vector<std::int64_t>& expert_counts) {
  LoadSummary summary;
  double total = 0.0;
  double largest = 0.0;
  for (const std::int64_t count : expert_counts) {
    total += static_cast<double>(count);
    largest = std::max(largest, static_cast<double>(count));
    if (count == 0) ++summary.dead_experts;
  }
  const auto num_experts = static_cast<double>(expert_counts.size());
  const double mean = total / num_experts;
  double entropy = 0.0;
  for (const std::int64_t count : expert_counts) {
    const double share = total > 0.0 ? static_cast<double>(count) / total : 0.0;
    if (share > 0.0) entropy -= share * std::log(share);
  }
  summary.max_violation = mean > 0.0 ? (largest - mean) / mean : 0.0;
  summary.entropy = num_experts > 1.0 ? entropy / std::log(num_experts) : 1.0;
  return summary;
}

Json moe_row(std::int64_t layer, const LayerStatistics& statistics, bool with_load) {
  const LoadSummary load = summarise_load(statistics.expert_counts);
  Json row;
  row["layer"] = layer;
  row["max_violation"] = load.max_violation;
  row["entropy"] = load.entropy;
  row["dead_experts"] = load.dead_experts;
  const ChoiceStatistics& choice = statistics.choice;
  const auto num_tokens = static_cast<double>(std::max<std::int64_t>(choice.num_tokens, 1));
  const auto num_experts = static_cast<double>(statistics.expert_counts.size());
  row["choice_entropy"] = num_experts > 1.0 ? choice.entropy / num_tokens / std::log(num_experts) : 0.0;
  row["margin"] = choice.margin / num_tokens;
  if (with_load) row["load"] = statistics.expert_counts;
  return row;
}

}  // namespace artel
