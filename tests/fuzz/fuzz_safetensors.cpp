#include <algorithm>

#include "checkpoint/safetensors.h"
#include "fuzz/fuzz.h"
#include "util/crc32c.h"

// A safetensors file, header and data. What is accepted covers the data exactly, and writing its header gives it back.

using namespace artel;

namespace {

bool same(const SafetensorsEntry& a, const SafetensorsEntry& b) {
  return a.key == b.key && a.dtype == b.dtype && a.shape == b.shape;
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  SafetensorsIndex index;
  if (!refusal_of([&] { index = parse_safetensors(data, size, "fuzz.safetensors"); }).empty()) return 0;
  check(index.data_offset <= size, "data begin within the file");
  uint64_t covered = 0;
  for (const SafetensorsEntry& entry : index.entries) {
    const auto bytes = static_cast<uint64_t>(entry.shape.numel()) * dtype_size(entry.dtype);
    check(entry.end - entry.begin == bytes, "an entry has the bytes of its shape");
    check(entry.end <= size - index.data_offset, "an entry lies within the file");
    crc32c(data + index.data_offset + entry.begin, bytes);
    covered += bytes;
    const SafetensorsEntry* found = index.find(entry.key);
    check(found != nullptr && same(*found, entry), "an entry is found under its key");
  }
  check(covered == size - index.data_offset, "entries cover the data");

  std::vector<SafetensorsEntry> entries = index.entries;
  const std::string file = safetensors_header(entries) + std::string(covered, '\0');
  const SafetensorsIndex again = parse_safetensors(file.data(), file.size(), "again.safetensors");
  check(std::equal(again.entries.begin(), again.entries.end(), index.entries.begin(), index.entries.end(), same),
        "a header that is written gives the same entries");
  return 0;
}
