#include "checkpoint/safetensors.h"

#include <algorithm>
#include <set>

#include "checkpoint/layout.h"
#include "util/json.h"
#include "util/text.h"

namespace artel {
namespace {

// The limit of the format's reference reader; a larger header is a damaged length.
constexpr std::uint64_t max_header_bytes = 100'000'000;

SafetensorsEntry parse_entry(const std::string& key, const Json& json, const std::string& path) {
  const std::string where = concat(path, ": tensor ", key);
  SafetensorsEntry entry;
  entry.key = key;
  entry.dtype = parse_safetensors_dtype(json_value<std::string>(json, "dtype", where), where);
  entry.shape = parse_shape(json_member(json, "shape", where), where);
  const auto bytes = static_cast<std::uint64_t>(entry.shape.numel()) * dtype_size(entry.dtype);
  const Json& offsets = json_member(json, "data_offsets", where);
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    fail("safetensors",
         concat("required data_offsets of two integers from 0, found ", excerpt_json(offsets), " in ", where));
  }
  entry.begin = offsets[0].get<std::uint64_t>();
  entry.end = offsets[1].get<std::uint64_t>();
  if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
    fail("safetensors",
         concat("required ", bytes, " bytes for shape ", entry.shape.to_string(), " of ",
                safetensors_dtype(entry.dtype), ", found data_offsets ", excerpt_json(offsets), " in ", where));
  }
  return entry;
}

void check_coverage(const std::vector<SafetensorsEntry>& entries, std::uint64_t data_bytes, const std::string& path) {
  std::vector<const SafetensorsEntry*> by_offset;
  for (const SafetensorsEntry& entry : entries) by_offset.push_back(&entry);
  std::sort(by_offset.begin(), by_offset.end(),
            [](const auto* a, const auto* b) { return a->begin != b->begin ? a->begin < b->begin : a->end < b->end; });
  std::uint64_t position = 0;
  for (const SafetensorsEntry* entry : by_offset) {
    if (entry->begin != position) {
      fail("safetensors", concat("required tensors without holes or overlaps, found tensor ", entry->key, " at byte ",
                                 entry->begin, " of the data where ", position, " was due in ", path));
    }
    position = entry->end;
  }
  if (position != data_bytes) {
    fail("safetensors", concat("required ", position, " bytes of data up to the end of tensor ",
                               by_offset.empty() ? "(none)" : by_offset.back()->key, ", found ", data_bytes, " in ",
                               path, "; the file is damaged or cut short"));
  }
}

}  // namespace

const char* safetensors_dtype(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::bf16:
      return "BF16";
    case DType::f64:
      return "F64";
    case DType::i32:
      return "I32";
  }
  return "?";
}

DType parse_safetensors_dtype(std::string_view name, std::string_view where) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::i32}) {
    if (name == safetensors_dtype(dtype)) return dtype;
  }
  fail("safetensors",
       concat("required dtype F32, BF16, F64 or I32, found ", excerpt_json(std::string(name)), " in ", where));
}

std::string safetensors_header(std::vector<SafetensorsEntry>& entries) {
  // Joined as text: a Json object looks through all its members for every one that is added.
  std::string json = R"({"__metadata__":{"format":"pt"})";
  std::set<std::string_view> keys = {"__metadata__"};
  std::uint64_t position = 0;
  for (SafetensorsEntry& entry : entries) {
    if (!keys.insert(entry.key).second) {
      fail("safetensors", concat("required every key once, found ", entry.key, " twice"));
    }
    entry.begin = position;
    entry.end = position += static_cast<std::uint64_t>(entry.shape.numel()) * dtype_size(entry.dtype);
    const Json value = {{"dtype", safetensors_dtype(entry.dtype)},
                        {"shape", shape_json(entry.shape)},
                        {"data_offsets", {entry.begin, entry.end}}};
    json += concat(",", dump_json(entry.key), ":", dump_json(value));
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > max_header_bytes) {
    fail("safetensors", concat("required a header of at most ", max_header_bytes, " bytes, found ", json.size(),
                               " for ", entries.size(), " tensors"));
  }
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>((json.size() >> (8 * i)) & 0xff);
  return bytes + json;
}

const SafetensorsEntry* SafetensorsIndex::find(std::string_view key) const {
  const auto found = std::lower_bound(entries.begin(), entries.end(), key,
                                      [](const SafetensorsEntry& entry, std::string_view k) { return entry.key < k; });
  return found != entries.end() && found->key == key ? &*found : nullptr;
}

SafetensorsIndex parse_safetensors(const void* file, std::size_t size, const std::string& path) {
  if (size < 8) fail("safetensors", concat("required at least 8 bytes, found ", size, " in ", path));
  const auto* bytes = static_cast<const unsigned char*>(file);
  std::uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | bytes[i];
  if (header_bytes > max_header_bytes || header_bytes > size - 8) {
    fail("safetensors", concat("required a header that fits the file of ", size, " bytes, found a length of ",
                               header_bytes, " in ", path, "; the file is damaged or no safetensors file"));
  }
  const SortedJson header =
      parse_sorted_json({static_cast<const char*>(file) + 8, static_cast<std::size_t>(header_bytes)}, path);
  if (!header.is_object()) {
    fail("safetensors", concat("required a JSON object as header, found another value in ", path));
  }
  SafetensorsIndex index;
  index.data_offset = 8 + header_bytes;
  for (const auto& [key, value] : header.items()) {
    if (key != "__metadata__") index.entries.push_back(parse_entry(key, value, path));
  }
  check_coverage(index.entries, size - index.data_offset, path);
  return index;
}

}  // namespace artel
