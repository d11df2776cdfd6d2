#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/token_type.h"
#include "util/files.h"

namespace artel {

/// The `.idx` of a Megatron-core IndexedDataset: type of the ids in the `.bin` beside it, and where sequences and
/// documents begin. Holds nothing but the header; the lists are read when they are asked for.
class MegatronIndex {
 public:
  /// Throws Error naming the file when it is missing, cut off, of another format or version, or of a type that holds
  /// no ids (float32, float64) or of several modes.
  explicit MegatronIndex(const std::string& path);

  TokenType type() const { return type_; }
  int64_t num_sequences() const { return num_sequences_; }
  int64_t num_documents() const { return num_bounds_ - 1; }

  /// Throws Error naming both files unless the sequences, one after another, are the `num_bytes` bytes of `bin_path`
  /// and the documents all the sequences.
  void require_ids(const std::string& bin_path, int64_t num_bytes) const;

  /// Position of the first id of each sequence, and behind them the number of all ids.
  std::vector<int64_t> sequence_starts() const;
  /// The same of each document.
  std::vector<int64_t> document_starts() const;

 private:
  InputFile file_;
  TokenType type_ = TokenType::uint16;
  int64_t num_sequences_ = 0;
  int64_t num_bounds_ = 0;
};

}  // namespace artel
