#include "huggingface/tokenizer_files.h"

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// What may stand beside a tokenizer.json; each is copied if it is there.
constexpr const char* companions[] = {
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "chat_template.jinja"};

std::string utf8(unsigned code_point) {
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  return {static_cast<char>(0xC0 | (code_point >> 6)), static_cast<char>(0x80 | (code_point & 0x3F))};
}

/// The letters that byte-level tokenizers write for bytes: printable ones of Latin-1 stand for themselves, the others
/// follow from U+0100 on. Radford et al., "Language models are unsupervised multitask learners", 2019 (released code).
std::vector<std::string> byte_letters() {
  std::vector<std::string> letters;
  unsigned next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    letters.push_back(utf8(printable ? byte : next++));
  }
  return letters;
}

std::string tokenizer_config(const ModelConfig& model) {
  const Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                     {"model_max_length", model.max_position_embeddings},
                     {"clean_up_tokenization_spaces", false}};
  return dump_json(json, 2) + "\n";
}

}  // namespace

std::string byte_tokenizer_json() {
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  Json vocab = Json::object();
  std::int64_t id = 0;
  for (const std::string& letter : byte_letters()) vocab[letter] = id++;
  Json json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = Json::array();
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = byte_level;
  json["post_processor"] = nullptr;
  json["decoder"] = byte_level;
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", false},
                   {"vocab", vocab},
                   {"merges", Json::array()}};
  return dump_json(json, 1) + "\n";
}

std::vector<TextFile> tokenizer_files(FileLayer& files, const std::string& tokenizer, const ModelConfig& model) {
  if (tokenizer == "bytes") {
    return {{"tokenizer.json", byte_tokenizer_json()}, {"tokenizer_config.json", tokenizer_config(model)}};
  }
  if (!files.exists(tokenizer)) {
    fail("export", concat("required the tokenizer of the run, data.tokenizer, found no file ", tokenizer,
                          "; name it with --tokenizer, or leave it out with --tokenizer none"));
  }
  std::vector<TextFile> found = {{"tokenizer.json", files.read(tokenizer)}};
  if (found[0].second.empty() || found[0].second[0] != '{') {
    fail("export", concat("required a tokenizer.json, which Hugging Face reads, found another kind of file in ",
                          tokenizer, "; name one with --tokenizer, or leave it out with --tokenizer none"));
  }
  bool has_config = false;
  for (const char* name : companions) {
    const std::string path = join_path(parent_directory(tokenizer), name);
    if (!files.exists(path)) continue;
    found.emplace_back(name, files.read(path));
    has_config = has_config || std::string_view(name) == "tokenizer_config.json";
  }
  if (!has_config) found.emplace_back("tokenizer_config.json", tokenizer_config(model));
  return found;
}

}  // namespace artel
