#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support/temporary_directory.h"
#include "util/files.h"

namespace artel {

/// A temporary directory to write files of given bytes to.
class Folder {
 public:
  /// Writes `bytes` to a file and returns its path.
  std::string write(const std::string& bytes, const std::string& name = "f.bin") {
    const std::string path = directory_.file(name);
    write_file_atomic(layer_, path, bytes);
    return path;
  }
  std::string file(const std::string& name) const { return directory_.file(name); }

 private:
  TemporaryDirectory directory_;
  PosixFileLayer layer_;
};

/// The lowest `width` bytes of each value.
inline std::string little_endian(const std::vector<int64_t>& values, size_t width) {
  std::string bytes;
  for (const int64_t value : values) {
    for (size_t i = 0; i < width; ++i) bytes += static_cast<char>(static_cast<uint64_t>(value) >> (8 * i));
  }
  return bytes;
}

inline std::string llmc_file(int64_t magic, int64_t version, int64_t num, const std::string& body) {
  std::vector<int64_t> header(256, 0);
  header[0] = magic;
  header[1] = version;
  header[2] = num;
  return little_endian(header, 4) + body;
}

/// "0a ff" as bytes.
inline std::string from_hex(const std::string& hex) {
  std::string bytes;
  std::string digits;
  for (const char c : hex) {
    if (c != ' ') digits += c;
    if (digits.size() < 2) continue;
    bytes += static_cast<char>(std::stoi(digits, nullptr, 16));
    digits.clear();
  }
  return bytes;
}

/// A Megatron index of sequences of these lengths, `width` bytes an id, and documents that begin at these sequences.
inline std::string megatron_index(int type_code, size_t width, const std::vector<int64_t>& lengths,
                                  const std::vector<int64_t>& bounds) {
  std::vector<int64_t> pointers;
  int64_t at = 0;
  for (const int64_t length : lengths) {
    pointers.push_back(at);
    at += length * static_cast<int64_t>(width);
  }
  return std::string("MMIDIDX\0\0", 9) + little_endian({1}, 8) + static_cast<char>(type_code) +
         little_endian({static_cast<int64_t>(lengths.size()), static_cast<int64_t>(bounds.size())}, 8) +
         little_endian(lengths, 4) + little_endian(pointers, 8) + little_endian(bounds, 8);
}

}  // namespace artel
