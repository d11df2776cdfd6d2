#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/token_file.h"
#include "util/files.h"

namespace artel {

struct TokenWriterOptions {
  std::string prefix;
  /// raw: PREFIX.bin; megatron: PREFIX.bin and PREFIX.idx, a sequence for each document; llmc: PREFIX_000000.bin and
  /// on, each below 2 GiB. Others are not written.
  TokenFormat format = TokenFormat::raw;
  TokenType type = TokenType::uint16;  ///< llm.c: uint16 or uint32; Megatron: uint32 is written as its int32
  int64_t shard_tokens = 100'000'000;  ///< ids in each shard of llm.c but the last
};

/// The narrowest type in which a format holds ids below num_ids. Megatron's own rule: 16 bits below 65500 ids.
TokenType token_type_for(TokenFormat format, int64_t num_ids);

/// How far a writer is; enough to go on after a crash.
struct TokenWriterState {
  int64_t num_tokens = 0;
  int64_t num_documents = 0;    ///< that have ended
  int64_t document_tokens = 0;  ///< of the document that has not

  friend bool operator==(const TokenWriterState&, const TokenWriterState&) = default;
};

/// Writes ids and the ends of documents as they come, in constant memory. Files have the suffix .part until they are
/// whole. Every operation goes through the file layer, so that any of them may fail; then a writer made anew from the
/// last state that sync() returned goes on with it, and the files become the same.
class TokenWriter {
 public:
  /// Throws Error when options do not fit one another, and, from a `state` with ids, when the files are not there.
  TokenWriter(FileLayer& files, TokenWriterOptions options, TokenWriterState state = {});

  /// Appends ids; a document ends behind the first ends[i] of them.
  void append(const std::vector<int32_t>& ids, const std::vector<int64_t>& ends);
  /// Returns once all is on the device.
  TokenWriterState sync();
  /// Completes the files and gives them their names. May be done again by a writer made from the same state.
  void finish();

  const TokenWriterState& state() const { return state_; }
  /// What was made, for messages.
  const std::vector<std::string>& finished_files() const { return finished_; }

 private:
  struct Part {
    std::optional<OutputFile> file;
    std::string path;  // without .part
    std::string buffer;
  };

  std::string shard_path(int64_t shard) const;
  void open_part(Part& part, int64_t size);
  void put(Part& part, const void* bytes, size_t size);
  void flush(Part& part);
  void complete(Part& part);
  void put_ids(const int32_t* ids, int64_t count);
  void put_ids_of_shard(const int32_t* ids, int64_t count);
  std::string shard_header(int64_t num_tokens) const;
  void finish_shards();
  void finish_index();
  void write_index(Part& index);
  void for_each_length(const std::function<void(int32_t)>& add);

  FileLayer& files_;
  TokenWriterOptions options_;
  int64_t width_;  // bytes of an id
  TokenWriterState state_;
  Part tokens_, lengths_;
  std::vector<std::string> finished_;
};

}  // namespace artel
