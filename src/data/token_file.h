#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/token_layout.h"

namespace artel {

/// A stream of token ids in a file of one of the formats of TokenFormat. Reading is safe from any thread, and a file
/// that is shortened or fails while it is open is an error of the read that finds it so.
class TokenFile {
 public:
  /// `dtype`: auto | uint8 | uint16 | uint32; where the file says its type it must be `auto` or agree. Ids must lie in
  /// [0, vocab_size), which is checked as they are read. `num_ids` decides `auto` elsewhere; 0: vocab_size. A name
  /// ending in .idx stands for the .bin beside it.
  /// Throws Error naming file and position when the file is missing, empty, cut off, of a size that is no whole number
  /// of ids, at odds with its header or index, or of a format that holds no plain token stream.
  TokenFile(const std::string& path, std::string_view dtype, int64_t vocab_size, int64_t num_ids = 0);

  /// Number of ids.
  int64_t size() const { return layout_.size; }
  TokenType type() const { return layout_.type; }
  const TokenLayout& layout() const { return layout_; }
  const std::string& path() const { return file_.path(); }

  /// The id at `position`, 0 <= position < size().
  int32_t at(int64_t position) const;
  /// out[0..count) = the ids from `begin` on. Throws Error naming file, position, id and vocab_size for the first id
  /// outside the vocabulary, for a range outside the file, and when the file cannot be read.
  void read(int64_t begin, int64_t count, int32_t* out) const;
  /// The same without a look at the vocabulary.
  void read_any(int64_t begin, int64_t count, int64_t* out) const;

  /// Whether the file, or one beside it, says where documents begin.
  bool has_documents() const { return !layout_.bounds_path.empty(); }
  /// Position of the first id of each document, and behind them size(). Throws Error naming both files when they
  /// disagree. Only with has_documents().
  std::vector<int64_t> document_starts() const;

 private:
  void require_range(int64_t begin, int64_t count) const;
  [[noreturn]] void fail_range(int64_t begin, int64_t count) const;

  InputFile file_;
  int64_t vocab_size_;
  TokenLayout layout_;
};

/// One token file, or several as one stream: shards.
class TokenStream {
 public:
  /// `path` may be a pattern of the shell; the files that match are taken in the order of their names, but for indexes
  /// and tables of documents, which belong to the files beside them. Other parameters and errors: TokenFile.
  TokenStream(const std::string& path, std::string_view dtype, int64_t vocab_size, int64_t num_ids = 0);

  /// Number of ids.
  int64_t size() const { return begins_.back(); }
  const std::string& path() const { return path_; }
  const std::vector<TokenFile>& files() const { return files_; }
  /// out[0..count) = the ids from `begin` on. Errors: TokenFile::read.
  void read(int64_t begin, int64_t count, int32_t* out) const;

  /// Whether every file says where documents begin.
  bool has_documents() const;
  /// TokenFile::document_starts of the stream.
  std::vector<int64_t> document_starts() const;

 private:
  std::string path_;
  std::vector<TokenFile> files_;
  std::vector<int64_t> begins_;  // of each file, and behind them the number of all ids
};

}  // namespace artel
