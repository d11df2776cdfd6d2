#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "data/byte_stream.h"
#include "util/error.h"
#include "util/text.h"

// What byte_stream.cpp and archives.cpp, or no_archives.cpp, share.

namespace artel {

/// A file that is read once, front to back.
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

class ByteSource {
 public:
  explicit ByteSource(std::unique_ptr<StoredFile> file) : file_(std::move(file)) {}
  virtual ~ByteSource() = default;
  virtual size_t read(char* out, size_t size) = 0;
  const StoredFile& file() const { return *file_; }

 protected:
  [[noreturn]] void fail_archive(const char* kind, std::string_view found) const {
    fail("data", concat(file_->path(), ": required a whole ", kind, " archive, found ", found, " before byte ",
                        file_->position()));
  }

  std::unique_ptr<StoredFile> file_;
};

/// Unpack a file that begins as these formats do. Throw Error in a build without them.
std::unique_ptr<ByteSource> make_gzip_source(std::unique_ptr<StoredFile> file);
std::unique_ptr<ByteSource> make_zstd_source(std::unique_ptr<StoredFile> file);

}  // namespace artel
