#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/tokenizer.h"

namespace artel {

/// The tokenizer that the bytes of a Hugging Face `tokenizer.json` describe: byte-level BPE; normalizer none, NFC, NFD,
/// NFKC, NFKD or a sequence of them; pre-tokenizer ByteLevel, Split by a known pattern, Digits or a sequence of them
/// that ends with ByteLevel; post-processor none, ByteLevel, TemplateProcessing or a sequence of them (special tokens
/// around the text are not added); decoder ByteLevel. Throws Error naming `path` and what is not supported.
///
/// The token that ends documents: the first of <|endoftext|>, <|end_of_text|>, </s> and <eos> among the added tokens,
/// else `eos_token` of the tokenizer_config.json beside `path`, else none.
std::unique_ptr<Tokenizer> read_tokenizer_json(std::string_view bytes, const std::string& path);

}  // namespace artel
