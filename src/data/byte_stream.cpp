#include "data/byte_stream.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "data/byte_source.h"

namespace artel {
namespace {

class PlainSource : public ByteSource {
 public:
  using ByteSource::ByteSource;
  size_t read(char* out, size_t size) override { return file_->read(out, size); }
};

}  // namespace

ByteStream::ByteStream(const std::string& path) {
  auto file = std::make_unique<StoredFile>(path);
  std::array<char, 4> magic{};
  const size_t size = file->read(magic.data(), magic.size());
  file->rewind();
  const std::string_view start(magic.data(), size);
  if (start.substr(0, 2) == "\x1f\x8b") {
    source_ = make_gzip_source(std::move(file));
  } else if (start == "\x28\xb5\x2f\xfd") {
    source_ = make_zstd_source(std::move(file));
  } else {
    source_ = std::make_unique<PlainSource>(std::move(file));
  }
}
ByteStream::~ByteStream() = default;
ByteStream::ByteStream(ByteStream&&) noexcept = default;
ByteStream& ByteStream::operator=(ByteStream&&) noexcept = default;

size_t ByteStream::read(char* out, size_t size) {
  return source_->read(out, size);
}

void ByteStream::skip(int64_t size) {
  std::vector<char> scratch(static_cast<size_t>(std::min<int64_t>(size, int64_t{1} << 20)));
  for (int64_t left = size; left > 0;) {
    const size_t got =
        read(scratch.data(), static_cast<size_t>(std::min<int64_t>(left, static_cast<int64_t>(scratch.size()))));
    if (got == 0) fail("data", concat(path(), ": required ", size, " bytes, found ", size - left));
    left -= static_cast<int64_t>(got);
  }
}

int64_t ByteStream::stored_bytes() const {
  return source_->file().position();
}

const std::string& ByteStream::path() const {
  return source_->file().path();
}

}  // namespace artel
