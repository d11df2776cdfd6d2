#include "train/event_file.h"

#include <algorithm>
#include <bit>

#include "util/crc32c.h"

namespace artel {
namespace {

void put_fixed(std::string& out, std::uint64_t value, int num_bytes) {
  for (int i = 0; i < num_bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 0xFFU);
}

// ---- protobuf's wire format

enum class Wire : std::uint32_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80U; value >>= 7) out += static_cast<char>((value & 0x7FU) | 0x80U);
  out += static_cast<char>(value);
}

void put_tag(std::string& out, std::uint32_t field, Wire wire) {
  put_varint(out, (field << 3) | static_cast<std::uint32_t>(wire));
}

void put_bytes(std::string& out, std::uint32_t field, std::string_view bytes) {
  put_tag(out, field, Wire::bytes);
  put_varint(out, bytes.size());
  out += bytes;
}

// A field that holds its default is left out, as protobuf's own writers do.
void put_integer(std::string& out, std::uint32_t field, std::int64_t value) {
  if (value == 0) return;
  put_tag(out, field, Wire::varint);
  put_varint(out, static_cast<std::uint64_t>(value));
}

void put_double(std::string& out, std::uint32_t field, double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  if (bits == 0) return;
  put_tag(out, field, Wire::fixed64);
  put_fixed(out, bits, 8);
}

void put_doubles(std::string& out, std::uint32_t field, const std::vector<double>& values) {
  if (values.empty()) return;
  put_tag(out, field, Wire::bytes);
  put_varint(out, 8 * values.size());
  for (const double value : values) put_fixed(out, std::bit_cast<std::uint64_t>(value), 8);
}

// ---- messages; the numbers are those of the .proto files

std::string event(double wall_time, std::int64_t step) {
  std::string out;
  put_double(out, 1, wall_time);
  put_integer(out, 2, step);
  return out;
}

std::uint32_t masked_crc(std::string_view data) {
  const std::uint32_t crc = crc32c(data.data(), data.size());
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U;
}

}  // namespace

std::string tf_record(std::string_view data) {
  std::string out;
  put_fixed(out, data.size(), 8);
  put_fixed(out, masked_crc(out), 4);
  out += data;
  put_fixed(out, masked_crc(data), 4);
  return out;
}

EventHistogram expert_histogram(const std::vector<std::int64_t>& load) {
  EventHistogram histogram;
  std::size_t first = load.size();
  std::size_t end = 0;
  for (std::size_t i = 0; i < load.size(); ++i) {
    const auto count = static_cast<double>(load[i]);
    const double middle = static_cast<double>(i) + 0.5;
    histogram.limits.push_back(static_cast<double>(i + 1));
    histogram.counts.push_back(count);
    histogram.num += count;
    histogram.sum += count * middle;
    histogram.sum_squares += count * middle * middle;
    if (load[i] == 0) continue;
    first = std::min(first, i);
    end = i + 1;
  }
  // Readers drop empty buckets at both ends and take min and max for the outer edges of what is left.
  if (end > 0) {
    histogram.min = static_cast<double>(first);
    histogram.max = static_cast<double>(end);
  }
  return histogram;
}

void SummaryEvent::add_scalar(std::string_view tag, float value) {
  std::string out;
  put_bytes(out, 1, tag);
  put_tag(out, 2, Wire::fixed32);
  put_fixed(out, std::bit_cast<std::uint32_t>(value), 4);
  put_bytes(summary_, 1, out);
}

void SummaryEvent::add_histogram(std::string_view tag, const EventHistogram& histogram) {
  std::string values;
  put_double(values, 1, histogram.min);
  put_double(values, 2, histogram.max);
  put_double(values, 3, histogram.num);
  put_double(values, 4, histogram.sum);
  put_double(values, 5, histogram.sum_squares);
  put_doubles(values, 6, histogram.limits);
  put_doubles(values, 7, histogram.counts);
  std::string out;
  put_bytes(out, 1, tag);
  put_bytes(out, 5, values);
  put_bytes(summary_, 1, out);
}

std::string SummaryEvent::record() const {
  std::string out = event(wall_time_, step_);
  put_bytes(out, 5, summary_);
  return tf_record(out);
}

std::string version_record(double wall_time) {
  std::string out = event(wall_time, 0);
  put_bytes(out, 3, "brain.Event:2");
  return tf_record(out);
}

std::string start_record(double wall_time, std::int64_t step) {
  constexpr std::int64_t start = 1;
  std::string session_log;
  put_integer(session_log, 1, start);
  std::string out = event(wall_time, step);
  put_bytes(out, 7, session_log);
  return tf_record(out);
}

}  // namespace artel
