#pragma once

#include <string>
#include <utility>
#include <vector>

#include "config/schema.h"
#include "huggingface/model_config.h"
#include "util/files.h"

namespace artel {

/// A small file of an export: name and contents.
using TextFile = std::pair<std::string, std::string>;

/// tokenizer.json of the bytes tokenizer: id b is byte b, byte-level pre-tokens without a pattern and no merges. Exact
/// for every text; the end of a document, id 0, is named in config.json alone, since a special token would claim a
/// character of the text.
std::string byte_tokenizer_json();

/// The files by which transformers finds the tokenizer that data.tokenizer names: those of the bytes tokenizer, or
/// tokenizer.json and what stands beside it (tokenizer_config.json, special_tokens_map.json, …); a missing
/// tokenizer_config.json is made. Errors: a tokenizer that is not there.
std::vector<TextFile> tokenizer_files(FileLayer& files, const std::string& tokenizer, const ModelConfig& model);

}  // namespace artel
