#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/patterns.h"
#include "tokenizer/tokenizer.h"

namespace artel {

/// The tokenizer of a tiktoken file: lines of a token in base64, a space and its rank, which is its id. `pattern`
/// splits the text; null: the one whose name is part of the file's name. Special tokens are not in such a file and
/// never come out of text; documents end with the encoding's own token where the number of ranks is that of r50k, p50k,
/// cl100k, o200k or llama3, else with the first id behind the ranks. Throws Error naming `path` and the line.
std::unique_ptr<Tokenizer> read_tiktoken(std::string_view bytes, const std::string& path, const SplitPattern* pattern);

}  // namespace artel
