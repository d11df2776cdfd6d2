#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace artel {

/// Where unpacked bytes come from.
class ByteSource;

/// The bytes of a file from its beginning, unpacked if it begins as gzip or zstd files do (several members or frames
/// behind one another are one stream). Throws Error naming the file and the byte for damaged or truncated archives.
class ByteStream {
 public:
  explicit ByteStream(const std::string& path);
  ~ByteStream();
  ByteStream(ByteStream&&) noexcept;
  ByteStream& operator=(ByteStream&&) noexcept;

  /// Reads up to `size` bytes; fewer only at the end, where it is 0.
  size_t read(char* out, size_t size);
  /// Passes over `size` bytes. Throws Error when there are fewer.
  void skip(int64_t size);
  /// Bytes of the file, as it is stored, that were read.
  int64_t stored_bytes() const;
  const std::string& path() const;

 private:
  std::unique_ptr<ByteSource> source_;
};

}  // namespace artel
