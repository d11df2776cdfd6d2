#include "data/byte_stream.h"

#include "support/catch.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "util/files.h"

using namespace artel;

namespace {

const std::string text = "first line\nsecond line\n";

// Both in two parts, which stand behind one another: made by gzip and by zstd.
const std::string gzip(
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\xcb\x2c\x2a\x2e\x51\xc8\xc9\xcc\x4b\xe5\x2a\x4e\x4d\xce\xcf\x4b\x51"
    "\x00"
    "\x00\x4d\x8a\xa6\x9d\x12\x00\x00\x00\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\xc9\xcc\x4b\xe5\x02\x00\x0e\x45"
    "\xd8"
    "\x66\x05\x00\x00\x00",
    63);
const std::string zstd(
    "\x28\xb5\x2f\xfd\x04\x58\x91\x00\x00\x66\x69\x72\x73\x74\x20\x6c\x69\x6e\x65\x0a\x73\x65\x63\x6f\x6e\x64\x20\x5b"
    "\xcb"
    "\x2d\x31\x28\xb5\x2f\xfd\x04\x58\x29\x00\x00\x6c\x69\x6e\x65\x0a\xc9\xd5\xa7\x82",
    49);

class StoredBytes {
 public:
  explicit StoredBytes(const std::string& bytes) {
    PosixFileLayer files;
    write_file_atomic(files, path(), bytes);
  }
  std::string path() const { return directory_.file("text"); }

  // All of it, a few bytes at a time.
  std::string read_all() const {
    ByteStream stream(path());
    std::string all, some(5, ' ');
    while (const size_t got = stream.read(some.data(), some.size())) all.append(some, 0, got);
    return all;
  }

 private:
  TemporaryDirectory directory_;
};

}  // namespace

TEST_CASE("Plain, gzip and zstd files are one stream of bytes, several members or frames too") {
  for (const std::string& stored : {text, gzip, zstd}) {
    const StoredBytes file(stored);
    CHECK(file.read_all() == text);
    ByteStream stream(file.path());
    stream.skip(6);
    std::string rest(100, ' ');
    rest.resize(stream.read(rest.data(), rest.size()));
    CHECK(rest == text.substr(6));
    CHECK(stream.stored_bytes() == static_cast<int64_t>(stored.size()));
    CHECK(contains(error_text([&] { ByteStream(file.path()).skip(24); }), "required 24 bytes, found 23"));
  }
  CHECK(StoredBytes("").read_all().empty());
}

TEST_CASE("An archive that is cut off or damaged is an error wherever it happens") {
  for (const std::string& stored : {gzip, zstd}) {
    const size_t second = stored == gzip ? 38 : 31;
    for (size_t size = 4; size < stored.size(); ++size) {
      const StoredBytes file(stored.substr(0, size));
      INFO(size);
      const std::string outcome = error_text([&] { file.read_all(); });
      CHECK((outcome == "(no error)") == (size == second));  // the first member alone is a whole archive
    }
    std::string damaged = stored;
    damaged[20] = static_cast<char>(damaged[20] ^ 0x15);
    const StoredBytes file(damaged);
    CHECK(contains(error_text([&] { file.read_all(); }), file.path() + ": required a whole "));
  }
}
