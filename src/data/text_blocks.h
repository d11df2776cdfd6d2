#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_stream.h"

namespace artel {

/// How documents stand in files.
struct TextFormat {
  bool jsonl = false;            ///< a JSON object a line; else text
  std::string field = "text";    ///< of the object, whose string is the document
  std::string separator;         ///< between the documents of a text file, part of none; empty: a file is a document
  bool replace_invalid = false;  ///< what is no UTF-8 becomes U+FFFD; else it is kept
};

/// The place between two blocks.
struct BlockPosition {
  int64_t input = 0;         ///< index of the file
  int64_t offset = 0;        ///< unpacked bytes before it
  int64_t line = 1;          ///< number of the line that it is in
  bool in_document = false;  ///< the document has begun before

  friend bool operator==(const BlockPosition&, const BlockPosition&) = default;
};

/// A stretch of one file that can be turned into ids without its neighbours.
struct TextBlock {
  BlockPosition begin, end;
  bool ends_input = false;
  std::string bytes;
};

/// A part of a document, or all of it.
struct DocumentPart {
  std::string_view text;  ///< not empty, except where `ends` and the document began before
  bool begins = false;
  bool ends = false;
};

/// Cuts files into blocks in their order, where that changes no id. Memory: a few blocks, if the text has places to
/// cut.
class TextBlockReader {
 public:
  /// `safe_cut`: see Tokenizer::safe_cut. Reading starts at `start`.
  TextBlockReader(std::vector<std::string> inputs, TextFormat format, std::function<size_t(std::string_view)> safe_cut,
                  BlockPosition start = {});

  /// The next block; false: there is none. Throws Error naming the file.
  bool next(TextBlock& block);
  /// Bytes of the files, as they are stored, that were read, and in all.
  int64_t stored_bytes_read() const;
  int64_t stored_bytes() const { return stored_bytes_; }

  /// Blocks have about this size.
  void set_block_bytes(size_t bytes) { block_bytes_ = bytes; }

 private:
  bool open_input();
  bool fill(size_t size);
  size_t cut_place() const;
  bool cuts_separator(size_t place) const;

  std::vector<std::string> inputs_;
  TextFormat format_;
  std::function<size_t(std::string_view)> safe_cut_;
  BlockPosition position_;
  std::optional<ByteStream> stream_;
  std::string buffer_;  // read and not yet in a block
  bool at_end_ = false;
  size_t block_bytes_ = size_t{1} << 20;
  int64_t stored_bytes_ = 0;
  int64_t finished_bytes_ = 0;  // of the files before this one
};

/// Calls `add` for each part of a document in the block; `path` is for messages. Throws Error naming the line for a
/// line of JSONL that is no object with the field. Returns how many documents were empty and left out.
int64_t for_each_document(const TextBlock& block, const TextFormat& format, const std::string& path,
                          const std::function<void(const DocumentPart&)>& add);

}  // namespace artel
