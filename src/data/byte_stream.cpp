#include "data/byte_stream.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr size_t buffer_bytes = size_t{256} << 10;

// A file that is read once, front to back.
class StoredFile {
 public:
  explicit StoredFile(const std::string& path) : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) fail_system("open");
  }
  ~StoredFile() { ::close(descriptor_); }
  StoredFile(const StoredFile&) = delete;
  StoredFile& operator=(const StoredFile&) = delete;

  size_t read(char* out, size_t size) {
    size_t done = 0;
    while (done < size) {
      const ssize_t got = ::read(descriptor_, out + done, size - done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail_system("read");
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    position_ += static_cast<int64_t>(done);
    return done;
  }
  void rewind() {
    if (::lseek(descriptor_, 0, SEEK_SET) != 0) fail_system("go back in");
    position_ = 0;
  }
  int64_t position() const { return position_; }
  const std::string& path() const { return path_; }

 private:
  [[noreturn]] void fail_system(const char* operation) const {
    fail("data", concat("cannot ", operation, " ", path_, ": ", std::generic_category().message(errno)));
  }

  std::string path_;
  int descriptor_;
  int64_t position_ = 0;
};

}  // namespace

class ByteStream::Source {
 public:
  explicit Source(std::unique_ptr<StoredFile> file) : file_(std::move(file)) {}
  virtual ~Source() = default;
  virtual size_t read(char* out, size_t size) = 0;
  const StoredFile& file() const { return *file_; }

 protected:
  [[noreturn]] void fail_archive(const char* kind, std::string_view found) const {
    fail("data", concat(file_->path(), ": required a whole ", kind, " archive, found ", found, " before byte ",
                        file_->position()));
  }

  std::unique_ptr<StoredFile> file_;
};

namespace {

class PlainSource : public ByteStream::Source {
 public:
  using Source::Source;
  size_t read(char* out, size_t size) override { return file_->read(out, size); }
};

class GzipSource : public ByteStream::Source {
 public:
  explicit GzipSource(std::unique_ptr<StoredFile> file) : Source(std::move(file)), input_(buffer_bytes) {
    constexpr int gzip_window = 15 + 16;
    if (inflateInit2(&stream_, gzip_window) != Z_OK) fail("data", "required memory for zlib, found none");
  }
  ~GzipSource() override { inflateEnd(&stream_); }

  size_t read(char* out, size_t size) override {
    size = std::min(size, size_t{1} << 30);
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = static_cast<uInt>(size);
    while (stream_.avail_out > 0) {
      if (stream_.avail_in == 0 && !fill()) {
        if (in_member_) fail_archive("gzip", "its end");
        break;
      }
      in_member_ = true;
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result == Z_STREAM_END) {
        in_member_ = false;
        inflateReset(&stream_);
      } else if (result != Z_OK) {
        fail_archive("gzip", stream_.msg == nullptr ? "damage" : stream_.msg);
      }
    }
    return size - stream_.avail_out;
  }

 private:
  bool fill() {
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(file_->read(input_.data(), input_.size()));
    return stream_.avail_in > 0;
  }

  z_stream stream_{};
  std::vector<char> input_;
  bool in_member_ = false;
};

class ZstdSource : public ByteStream::Source {
 public:
  explicit ZstdSource(std::unique_ptr<StoredFile> file)
      : Source(std::move(file)), stream_(ZSTD_createDStream(), ZSTD_freeDStream), input_(buffer_bytes) {
    if (!stream_) fail("data", "required memory for zstd, found none");
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, 31);  // zstd --long=31
  }

  size_t read(char* out, size_t size) override {
    ZSTD_outBuffer to{out, size, 0};
    while (to.pos < to.size) {
      if (from_.pos == from_.size) {
        from_ = {input_.data(), file_->read(input_.data(), input_.size()), 0};
        // Of the last frame there may be bytes that did not fit before.
        if (from_.size == 0 && !pending_) break;
      }
      const size_t before = to.pos;
      const bool at_end = from_.size == 0;
      const size_t result = ZSTD_decompressStream(stream_.get(), &to, &from_);
      if (ZSTD_isError(result) != 0) fail_archive("zstd", ZSTD_getErrorName(result));
      pending_ = result != 0;
      if (at_end && pending_ && to.pos == before) fail_archive("zstd", "its end");
    }
    return to.pos;
  }

 private:
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
  std::vector<char> input_;
  ZSTD_inBuffer from_{nullptr, 0, 0};
  bool pending_ = false;  // in the middle of a frame
};

}  // namespace

ByteStream::ByteStream(const std::string& path) {
  auto file = std::make_unique<StoredFile>(path);
  std::array<char, 4> magic{};
  const size_t size = file->read(magic.data(), magic.size());
  file->rewind();
  const std::string_view start(magic.data(), size);
  if (start.substr(0, 2) == "\x1f\x8b") {
    source_ = std::make_unique<GzipSource>(std::move(file));
  } else if (start == "\x28\xb5\x2f\xfd") {
    source_ = std::make_unique<ZstdSource>(std::move(file));
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
