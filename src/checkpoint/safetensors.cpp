#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>

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
  const Json& shape = json_member(json, "shape", where);
  if (!shape.is_array() || shape.size() > Shape::max_rank) {
    fail("safetensors",
         concat("required a shape of at most ", Shape::max_rank, " dimensions, found ", shape.dump(), " in ", where));
  }
  std::uint64_t bytes = dtype_size(entry.dtype);
  for (const Json& dim : shape) {
    if (!dim.is_number_unsigned() || dim.get<std::uint64_t>() > (std::uint64_t{1} << 40)) {
      fail("safetensors", concat("required dimensions of 0 to 2^40, found ", dim.dump(), " in ", where));
    }
    entry.shape.push_back(dim.get<std::int64_t>());
    if (__builtin_mul_overflow(bytes, dim.get<std::uint64_t>(), &bytes)) {
      fail("safetensors", concat("required a tensor that fits in memory, found ", shape.dump(), " in ", where));
    }
  }
  const Json& offsets = json_member(json, "data_offsets", where);
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    fail("safetensors", concat("required two data_offsets, found ", offsets.dump(), " in ", where));
  }
  entry.begin = offsets[0].get<std::uint64_t>();
  entry.end = offsets[1].get<std::uint64_t>();
  if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
    fail("safetensors", concat("required ", bytes, " bytes for shape ", entry.shape.to_string(),
                               ", found data_offsets ", offsets.dump(), " in ", where));
  }
  return entry;
}

void check_coverage(std::vector<SafetensorsEntry> entries, std::uint64_t data_bytes, const std::string& path) {
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  std::uint64_t position = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != position) {
      fail("safetensors", concat("required tensors without holes or overlaps, found ", entry.key, " at byte ",
                                 entry.begin, " where ", position, " was due in ", path));
    }
    position = entry.end;
  }
  if (position != data_bytes) {
    fail("safetensors", concat("required ", position, " bytes of data, found ", data_bytes, " in ", path,
                               "; the file is damaged or cut short"));
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
  fail("safetensors", concat("required F32, BF16, F64 or I32, found ", name, " in ", where));
}

std::string safetensors_header(std::vector<SafetensorsEntry>& entries) {
  Json header;
  header["__metadata__"] = {{"format", "pt"}};
  std::uint64_t position = 0;
  for (SafetensorsEntry& entry : entries) {
    entry.begin = position;
    entry.end = position += static_cast<std::uint64_t>(entry.shape.numel()) * dtype_size(entry.dtype);
    Json shape = Json::array();
    for (int i = 0; i < entry.shape.rank(); ++i) shape.push_back(entry.shape[i]);
    header[entry.key] = {
        {"dtype", safetensors_dtype(entry.dtype)}, {"shape", shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string json = dump_json(header);
  json.resize((json.size() + 7) / 8 * 8, ' ');
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>((json.size() >> (8 * i)) & 0xff);
  return bytes + json;
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
  const Json header = parse_json({static_cast<const char*>(file) + 8, static_cast<std::size_t>(header_bytes)}, path);
  if (!header.is_object())
    fail("safetensors", concat("required a JSON object as header, found another value in ", path));
  SafetensorsIndex index;
  index.data_offset = 8 + header_bytes;
  for (const auto& [key, value] : header.items()) {
    if (key != "__metadata__") index.entries.push_back(parse_entry(key, value, path));
  }
  check_coverage(index.entries, size - index.data_offset, path);
  return index;
}

}  // namespace artel
