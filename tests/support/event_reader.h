#pragma once
// Reads TensorBoard's event files, written from the format's definition: records, checksums, protobuf.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "util/crc32c.h"

namespace artel {

struct ReadHistogram {
  double min = 0.0, max = 0.0, num = 0.0, sum = 0.0, sum_squares = 0.0;
  std::vector<double> limits, counts;
};

struct ReadEvent {
  double wall_time = 0.0;
  std::int64_t step = 0;
  std::string version;
  bool start = false;
  std::map<std::string, float> scalars;
  std::map<std::string, ReadHistogram> histograms;
};

class EventReader {
 public:
  /// All whole records of a file; `cut` tells whether bytes of an incomplete one follow. Throws on a wrong checksum.
  static std::vector<ReadEvent> read(std::string_view file, bool* cut = nullptr) {
    std::vector<ReadEvent> events;
    std::size_t position = 0;
    while (file.size() - position >= 12) {
      const auto length = number<std::uint64_t>(file.substr(position));
      check_crc(file.substr(position, 8), file.substr(position + 8));
      if (file.size() - position < 16 + length) break;
      const std::string_view data = file.substr(position + 12, length);
      check_crc(data, file.substr(position + 12 + length));
      events.push_back(event(data));
      position += 16 + length;
    }
    if (cut != nullptr) *cut = position != file.size();
    return events;
  }

 private:
  struct Field {
    std::uint64_t number = 0;
    std::uint64_t integer = 0;
    std::string_view bytes;
  };

  template <typename T>
  static T number(std::string_view bytes) {
    if (bytes.size() < sizeof(T)) throw std::runtime_error("too few bytes");
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }

  static void check_crc(std::string_view data, std::string_view found) {
    const std::uint32_t crc = crc32c_portable(data.data(), data.size());
    const std::uint32_t masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
    if (number<std::uint32_t>(found) != masked) throw std::runtime_error("wrong checksum");
  }

  static std::uint64_t varint(std::string_view& data) {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      if (data.empty() || shift > 63) throw std::runtime_error("varint without an end");
      const auto byte = static_cast<std::uint8_t>(data.front());
      data.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
      if (byte < 0x80U) return value;
    }
  }

  static std::vector<Field> fields(std::string_view data) {
    std::vector<Field> result;
    while (!data.empty()) {
      const std::uint64_t tag = varint(data);
      Field field;
      field.number = tag >> 3;
      if ((tag & 7U) == 0) {
        field.integer = varint(data);
      } else {
        const std::uint64_t size = (tag & 7U) == 1 ? 8 : (tag & 7U) == 5 ? 4 : varint(data);
        if ((tag & 7U) > 5 || size > data.size()) throw std::runtime_error("a field beyond the end");
        field.bytes = data.substr(0, size);
        data.remove_prefix(size);
      }
      result.push_back(field);
    }
    return result;
  }

  static std::vector<double> doubles(std::string_view bytes) {
    std::vector<double> values;
    for (std::size_t i = 0; i < bytes.size(); i += 8) values.push_back(number<double>(bytes.substr(i)));
    return values;
  }

  static ReadHistogram histogram(std::string_view data) {
    ReadHistogram result;
    double* const numbers[] = {&result.min, &result.max, &result.num, &result.sum, &result.sum_squares};
    for (const Field& field : fields(data)) {
      if (field.number <= 5) *numbers[field.number - 1] = number<double>(field.bytes);
      if (field.number == 6) result.limits = doubles(field.bytes);
      if (field.number == 7) result.counts = doubles(field.bytes);
    }
    return result;
  }

  static void add_value(std::string_view data, ReadEvent& event) {
    std::string tag;
    for (const Field& field : fields(data)) {
      if (field.number == 1) tag = field.bytes;
      if (field.number == 2) event.scalars[tag] = number<float>(field.bytes);
      if (field.number == 5) event.histograms[tag] = histogram(field.bytes);
    }
  }

  static ReadEvent event(std::string_view data) {
    ReadEvent result;
    for (const Field& field : fields(data)) {
      if (field.number == 1) result.wall_time = number<double>(field.bytes);
      if (field.number == 2) result.step = static_cast<std::int64_t>(field.integer);
      if (field.number == 3) result.version = field.bytes;
      if (field.number == 5) {
        for (const Field& value : fields(field.bytes)) add_value(value.bytes, result);
      }
      if (field.number == 7) {
        for (const Field& log : fields(field.bytes)) result.start = log.number == 1 && log.integer == 1;
      }
    }
    return result;
  }
};

}  // namespace artel
