#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/token_file.h"

namespace artel {

struct TokenReportOptions {
  int64_t vocab_size = 0;                  ///< ids from it on are out of range; 0: only negative ones
  std::optional<int64_t> end_of_document;  ///< for files without bounds of documents
  int64_t num_samples = 3;
  int64_t sample_tokens = 64;  ///< longest sample
};

/// How long the documents of a file are, in ids. A quantile is the least length that the share of documents does not
/// exceed.
struct DocumentLengths {
  int64_t count = 0;
  int64_t shortest = 0;
  int64_t longest = 0;
  double mean = 0.0;
  int64_t median = 0;
  int64_t p90 = 0;
  int64_t p99 = 0;
};

/// The beginning of a document, or of a part of a file without documents.
struct TokenSample {
  int64_t position = 0;
  std::vector<int64_t> ids;
};

/// What is in a token file.
struct TokenReport {
  int64_t smallest_id = 0;
  int64_t largest_id = 0;
  std::optional<DocumentLengths> documents;  ///< none: neither bounds nor an end_of_document
  int64_t num_out_of_range = 0;
  std::vector<std::pair<int64_t, int64_t>> out_of_range;  ///< position and id of the first of them, 8 at most
  std::vector<TokenSample> samples;                       ///< from places evenly spread
};

/// Reads every id of the file. Errors: TokenFile::read_any and document_starts.
TokenReport report_tokens(const TokenFile& file, const TokenReportOptions& options);

}  // namespace artel
