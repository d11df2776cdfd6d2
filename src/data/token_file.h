#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "util/files.h"

namespace artel {

/// How a token file stores one id: 1, 2 or 4 bytes, little-endian.
enum class TokenType { uint8, uint16, uint32 };

/// Bytes per id.
int64_t token_type_size(TokenType type);
/// "uint8", "uint16" or "uint32".
std::string token_type_name(TokenType type);

/// The type that `dtype: auto` means for a file without a header: the narrowest that holds `num_ids` ids (of the
/// tokenizer): uint8 up to 256 (bytes), uint16 up to 65536, else uint32.
TokenType default_token_type(int64_t num_ids);

/// A stream of token ids in a memory-mapped file: either headerless, or a `.bin` of llm.c (1024-byte header, magic
/// 20240520 with uint16 ids or 20240801 with uint32 ids). Reading is safe from any thread. The file must not be
/// shortened while it is open.
class TokenFile {
 public:
  /// `dtype`: auto | uint8 | uint16 | uint32; with a header it must be `auto` or agree. Ids must lie in
  /// [0, vocab_size), which is checked as they are read. `num_ids` decides `auto` without a header; 0: vocab_size.
  /// Throws Error naming file and position when the file is missing, empty, cut off, of a size that is no whole number
  /// of ids, at odds with its header, or of a format that holds no plain token stream.
  TokenFile(const std::string& path, std::string_view dtype, int64_t vocab_size, int64_t num_ids = 0);

  /// Number of ids.
  int64_t size() const { return size_; }
  TokenType type() const { return type_; }
  const std::string& path() const { return file_.path(); }

  /// The id at `position`, 0 <= position < size().
  int32_t at(int64_t position) const;
  /// out[0..count) = the ids from `begin` on. Throws Error naming file, position, id and vocab_size for the first id
  /// outside the vocabulary, and for a range outside the file.
  void read(int64_t begin, int64_t count, int32_t* out) const;

 private:
  // The first byte of the ids; sets type_ from the header or from `dtype`.
  int64_t examine_header(std::string_view dtype, int64_t num_ids);

  MappedFile file_;
  int64_t vocab_size_;
  TokenType type_ = TokenType::uint8;
  int64_t body_ = 0;  // bytes before the first id
  int64_t size_ = 0;
};

}  // namespace artel
