#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <vector>

#include "data/byte_source.h"

namespace artel {
namespace {

constexpr size_t buffer_bytes = size_t{256} << 10;

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(std::unique_ptr<StoredFile> file) : ByteSource(std::move(file)), input_(buffer_bytes) {
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

class ZstdSource : public ByteSource {
 public:
  explicit ZstdSource(std::unique_ptr<StoredFile> file)
      : ByteSource(std::move(file)), stream_(ZSTD_createDStream(), ZSTD_freeDStream), input_(buffer_bytes) {
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

std::unique_ptr<ByteSource> make_gzip_source(std::unique_ptr<StoredFile> file) {
  return std::make_unique<GzipSource>(std::move(file));
}

std::unique_ptr<ByteSource> make_zstd_source(std::unique_ptr<StoredFile> file) {
  return std::make_unique<ZstdSource>(std::move(file));
}

}  // namespace artel
