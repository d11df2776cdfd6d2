#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "data/token_type.h"
#include "util/files.h"

namespace artel {

/// The formats of token files (docs/data.md has their bytes).
enum class TokenFormat {
  raw,       ///< ids and nothing else
  llmc,      ///< a `.bin` of llm.c: a header of 1024 bytes, magic 20240520 (uint16) or 20240801 (uint32)
  megatron,  ///< `.bin` of a Megatron-core IndexedDataset, whose `.idx` lies beside it
  npy,       ///< a NumPy array
  raw_npy    ///< ids and nothing else under a name ending in .npy, as OLMo and dolma write them
};
/// "raw", "llm.c", "Megatron", "npy", "raw npy".
const char* token_format_name(TokenFormat format);

/// Where the ids of a token file lie.
struct TokenLayout {
  TokenFormat format = TokenFormat::raw;
  TokenType type = TokenType::uint8;
  int64_t body = 0;           ///< bytes before the first id
  int64_t size = 0;           ///< ids
  std::string bounds_path{};  ///< the file that holds the bounds of documents; empty: none
};

/// The file that holds the ids of what a user named: `X.bin` for the index `X.idx`, else the path itself.
std::string token_ids_path(const std::string& path);

/// Finds format and type by the file's first bytes, its name and the files beside it. `dtype`: auto | uint8 | uint16 |
/// uint32; where the file says its type, `dtype` must be auto or agree. `num_ids` decides `auto` elsewhere. Throws
/// Error naming the file, or the two that disagree, when it is empty, cut off, at odds with its header or index, or
/// of a format that holds no plain stream of ids.
TokenLayout examine_token_file(const InputFile& file, std::string_view dtype, int64_t num_ids);

}  // namespace artel
