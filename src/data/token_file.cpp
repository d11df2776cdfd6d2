#include "data/token_file.h"

#include <cstring>
#include <limits>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr int64_t header_bytes = 1024;
constexpr uint32_t magic_uint16 = 20240520, magic_uint32 = 20240801;
constexpr int32_t version_uint16 = 1, version_uint32 = 7;

// Formats that people may point at by mistake; their bytes would pass for tokens.
struct ForeignFormat {
  std::string_view magic;
  const char* name;
};
constexpr ForeignFormat foreign_formats[] = {
    {std::string_view("\x8a\xd8\x34\x01", 4), "an evaluation file of llm.c"},
    {std::string_view("\xc6\xd7\x34\x01", 4), "a model file of llm.c"},
    {std::string_view("\x93NUMPY", 6), "a NumPy array"},
    {std::string_view("MMIDIDX\0\0", 9), "the index of a Megatron data set (its .bin file holds the ids)"},
    {std::string_view("\x1f\x8b", 2), "a gzip archive"},
};

[[noreturn]] void fail_file(const std::string& path, const std::string& text) {
  fail("data", concat(path, ": ", text));
}

uint32_t little_endian(const unsigned char* bytes, int64_t size) {
  uint32_t value = 0;
  for (int64_t i = 0; i < size; ++i) value |= static_cast<uint32_t>(bytes[i]) << (8 * i);
  return value;
}

TokenType token_type(std::string_view dtype, const std::string& path) {
  for (const TokenType type : {TokenType::uint8, TokenType::uint16, TokenType::uint32}) {
    if (dtype == token_type_name(type)) return type;
  }
  fail_file(path, concat("dtype required auto, uint8, uint16 or uint32, found ", dtype));
}

template <int64_t width>
uint32_t widen(const unsigned char* ids, int64_t count, int32_t* out) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t id = little_endian(ids + width * i, width);
    largest = id > largest ? id : largest;
    out[i] = static_cast<int32_t>(id);
  }
  return largest;
}

}  // namespace

int64_t token_type_size(TokenType type) {
  return type == TokenType::uint8 ? 1 : type == TokenType::uint16 ? 2 : 4;
}

std::string token_type_name(TokenType type) {
  return type == TokenType::uint8 ? "uint8" : type == TokenType::uint16 ? "uint16" : "uint32";
}

TokenType default_token_type(int64_t num_ids) {
  return num_ids <= 256 ? TokenType::uint8 : num_ids <= 65536 ? TokenType::uint16 : TokenType::uint32;
}

TokenFile::TokenFile(const std::string& path, std::string_view dtype, int64_t vocab_size, int64_t num_ids)
    : file_(path), vocab_size_(vocab_size) {
  if (vocab_size < 1 || vocab_size > std::numeric_limits<int32_t>::max()) {
    fail("data", concat("vocab_size required 1 to 2147483647, found ", vocab_size));
  }
  if (file_.size() == 0) fail_file(path, "required token ids, found an empty file (0 bytes)");
  body_ = examine_header(dtype, num_ids > 0 ? num_ids : vocab_size);
  const int64_t bytes = static_cast<int64_t>(file_.size()) - body_;
  const int64_t width = token_type_size(type_);
  if (bytes % width != 0) {
    fail_file(path, concat("required a whole number of ", token_type_name(type_), " ids, found ", file_.size(),
                           " bytes: the id at position ", bytes / width, " (byte ", body_ + bytes / width * width,
                           ") is cut off; is the file complete, and is data.dtype right?"));
  }
  size_ = bytes / width;
}

int64_t TokenFile::examine_header(std::string_view dtype, int64_t num_ids) {
  const unsigned char* bytes = file_.data();
  const auto file_bytes = static_cast<int64_t>(file_.size());
  for (const ForeignFormat& format : foreign_formats) {
    if (file_.size() >= format.magic.size() && std::memcmp(bytes, format.magic.data(), format.magic.size()) == 0) {
      fail_file(path(), concat("required token ids, found ", format.name, " (by its first ", format.magic.size(),
                               " bytes); convert it to a plain stream of ids"));
    }
  }
  const uint32_t magic = file_bytes >= 4 ? little_endian(bytes, 4) : 0;
  const bool has_header = magic == magic_uint16 || magic == magic_uint32;
  if (!has_header) {
    type_ = dtype == "auto" ? default_token_type(num_ids) : token_type(dtype, path());
    return 0;
  }
  type_ = magic == magic_uint16 ? TokenType::uint16 : TokenType::uint32;
  if (dtype != "auto" && token_type(dtype, path()) != type_) {
    fail_file(path(), concat("dtype required auto or ", token_type_name(type_), " (header with magic ", magic,
                             " at byte 0), found ", dtype));
  }
  if (file_bytes < header_bytes) {
    fail_file(path(), concat("required a header of ", header_bytes, " bytes (magic ", magic, " at byte 0), found ",
                             file_bytes, " bytes: the file is cut off at byte ", file_bytes));
  }
  const auto version = static_cast<int32_t>(little_endian(bytes + 4, 4));
  const int32_t wanted = type_ == TokenType::uint16 ? version_uint16 : version_uint32;
  if (version != wanted) {
    fail_file(path(), concat("required version ", wanted, " at byte 4 of the header, found ", version,
                             "; write the file again with a current tool"));
  }
  const auto num_tokens = static_cast<int32_t>(little_endian(bytes + 8, 4));
  if (num_tokens < 1)
    fail_file(path(), concat("required at least 1 token at byte 8 of the header, found ", num_tokens));
  const int64_t expected = header_bytes + token_type_size(type_) * num_tokens;
  if (file_bytes != expected) {
    fail_file(path(), concat("required ", expected, " bytes (", num_tokens, " ", token_type_name(type_),
                             " ids by its header), found ", file_bytes, ": the file ",
                             file_bytes < expected ? "is cut off at byte " : "has bytes that do not belong from byte ",
                             file_bytes < expected ? file_bytes : expected));
  }
  return header_bytes;
}

int32_t TokenFile::at(int64_t position) const {
  int32_t id = 0;
  read(position, 1, &id);
  return id;
}

void TokenFile::read(int64_t begin, int64_t count, int32_t* out) const {
  if (begin < 0 || count < 0 || begin > size_ || count > size_ - begin) {
    fail_file(path(),
              concat("required a range within its ", size_, " ids, found ", count, " ids from position ", begin));
  }
  const int64_t width = token_type_size(type_);
  const unsigned char* ids = file_.data() + body_ + begin * width;
  const uint32_t largest = width == 1   ? widen<1>(ids, count, out)
                           : width == 2 ? widen<2>(ids, count, out)
                                        : widen<4>(ids, count, out);
  if (static_cast<int64_t>(largest) < vocab_size_) return;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t id = little_endian(ids + i * width, width);
    if (static_cast<int64_t>(id) < vocab_size_) continue;
    fail_file(path(), concat("required ids below model.vocab_size ", vocab_size_, ", found id ", id, " at position ",
                             begin + i, " (read as ", token_type_name(type_), ")"));
  }
}

}  // namespace artel
