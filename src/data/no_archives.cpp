#include "data/byte_source.h"

namespace artel {
namespace {

[[noreturn]] void refuse(const StoredFile& file, const char* kind) {
  fail("data", concat(file.path(), ": required plain text, found ", kind,
                      ", which this build cannot unpack; build with -DARTEL_TOKENIZERS=ON"));
}

}  // namespace

std::unique_ptr<ByteSource> make_gzip_source(std::unique_ptr<StoredFile> file) {
  refuse(*file, "gzip");
}

std::unique_ptr<ByteSource> make_zstd_source(std::unique_ptr<StoredFile> file) {
  refuse(*file, "zstd");
}

}  // namespace artel
