#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/text_blocks.h"
#include "data/token_writer.h"
#include "tokenizer/tokenizer.h"

namespace artel {

enum class DocumentEnd { append, prepend, none };

struct TokenizeOptions {
  std::vector<std::string> inputs;
  TextFormat format;
  TokenWriterOptions output;
  DocumentEnd document_end = DocumentEnd::append;
  int32_t end_id = 0;  ///< the id that stands behind, or before, each document
  int num_threads = 1;
  bool restart = false;   ///< give up what an interrupted run has done
  std::string tokenizer;  ///< what decides, with the options, whether a run is the same: name and files
  int64_t journal_bytes = int64_t{64} << 20;  ///< of unpacked text between two entries
  size_t block_bytes = size_t{1} << 20;       ///< of text that a thread takes at once; changes no id
};

struct TokenizeProgress {
  int64_t stored_bytes_read = 0, stored_bytes = 0;
  int64_t text_bytes = 0;  ///< unpacked, in this run
  TokenWriterState written;
  int64_t num_empty = 0;  ///< documents without text, which are left out; in this run
};

struct TokenizeResult {
  TokenizeProgress progress;
  bool resumed = false;
  std::vector<std::string> files;
};

/// Turns text files into token files with many threads, in constant memory. What is on the disk is noted in
/// PREFIX.journal from time to time; the same call goes on from there after a crash, and the files become those of a
/// run that was not interrupted. Throws Error naming file and line for bad input, and when PREFIX belongs to something
/// else.
TokenizeResult tokenize_files(FileLayer& files, const Tokenizer& tokenizer, const TokenizeOptions& options,
                              const std::function<void(const TokenizeProgress&)>& report);

}  // namespace artel
