#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/token_type.h"
#include "util/files.h"

namespace artel {

/// The first bytes of a NumPy array.
inline constexpr std::string_view npy_magic("\x93NUMPY", 6);

/// What the header of a NumPy array of ids says.
struct NpyHeader {
  TokenType type = TokenType::uint16;
  int64_t body = 0;  ///< bytes before the first id
  int64_t size = 0;  ///< ids
};

/// Reads the header (format versions 1 to 3) of a file that begins with npy_magic. Throws Error naming the file for
/// anything but one dimension, C order and ids of uint8, uint16, uint32, int32 or int64, little-endian.
NpyHeader read_npy_header(const InputFile& file);

/// The bounds of documents beside a file of OLMo or dolma: the lines `start,end,…` of a gzipped CSV, positions of ids.
/// Returns the start of every document and behind them `num_tokens`. Throws Error naming both files unless the
/// documents are the `num_tokens` ids of `ids_path`, one after another.
std::vector<int64_t> read_document_table(const std::string& path, const std::string& ids_path, int64_t num_tokens);

}  // namespace artel
