#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"

// The safetensors format: u64 length of the header, JSON header, data; all little-endian.

namespace artel {

/// One tensor of a safetensors file; offsets are bytes from the start of the data, behind the header.
struct SafetensorsEntry {
  std::string key;
  DType dtype = DType::f32;
  Shape shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Names of element types in the format: F32, BF16, F64, I32.
const char* safetensors_dtype(DType dtype);
/// Errors: a type that Artel does not store, naming it.
DType parse_safetensors_dtype(std::string_view name, std::string_view where);

/// The first bytes of a file with these entries: length (u64), JSON padded to 8 bytes. Sets begin and end of every
/// entry, one after another without holes. Errors: a key twice.
std::string safetensors_header(std::vector<SafetensorsEntry>& entries);

struct SafetensorsIndex {
  std::vector<SafetensorsEntry> entries;  ///< sorted by key
  std::uint64_t data_offset = 0;          ///< of the data in the file

  /// Null if there is none of that key.
  const SafetensorsEntry* find(std::string_view key) const;
};

/// Reads the header of a whole file in memory. Errors, naming the file: too short, not JSON, an entry whose size does
/// not fit its shape, holes, overlaps, data that do not end with the file.
SafetensorsIndex parse_safetensors(const void* file, std::size_t size, const std::string& path);

}  // namespace artel
