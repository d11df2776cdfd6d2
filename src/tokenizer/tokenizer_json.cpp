#include "tokenizer/tokenizer_json.h"

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <limits>

#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/byte_level.h"
#include "util/error.h"
#include "util/files.h"
#include "util/json.h"
#include "util/one_line.h"
#include "util/text.h"

namespace artel {
namespace {

// Reads one document; every message names its path.
class JsonReader {
 public:
  explicit JsonReader(const std::string& path) : path_(path) {}

  std::unique_ptr<Tokenizer> read(const SortedJson& root);

 private:
  using Names = std::initializer_list<const char*>;

  [[noreturn]] void refuse(std::string_view what, std::string_view required, const SortedJson& found) const;
  const SortedJson* member(const SortedJson& object, const char* key) const;
  void check_members(const SortedJson& object, const char* what, Names known) const;
  std::string text(const SortedJson& object, const char* key, std::string_view what) const;
  bool flag(const SortedJson& object, const char* key, bool absent) const;
  int32_t id(const SortedJson& value, std::string_view what) const;
  std::string type(const SortedJson& object, const char* what) const;

  void read_normalizer(const SortedJson& node);
  void read_pre_tokenizer(const SortedJson& node);
  void read_byte_level(const SortedJson& node);
  void read_split(const SortedJson& node);
  void check_post_processor(const SortedJson& node) const;
  void read_model(const SortedJson& model);
  void read_vocabulary(const SortedJson& vocabulary);
  void read_merges(const SortedJson& merges);
  std::pair<std::string, std::string> merge_of(const SortedJson& merge) const;
  void read_added_tokens(const SortedJson& added);
  AddedToken added_token(const SortedJson& node) const;
  int32_t id_of_added(const std::string& content) const;
  void set_token(int32_t id, std::string bytes);
  void find_end_of_document();

  const std::string& path_;
  BpeTokenizerParts parts_;
  TokenIds vocabulary_;  // as written, where BpeParts::ids has bytes
  bool has_byte_level_ = false;
};

void JsonReader::refuse(std::string_view what, std::string_view required, const SortedJson& found) const {
  const Json copy = found;
  fail("tokenizer", concat(path_, ": ", what, " required ", required, ", found ", one_line(excerpt_json(copy))));
}

// Null counts as absent.
const SortedJson* JsonReader::member(const SortedJson& object, const char* key) const {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

void JsonReader::check_members(const SortedJson& object, const char* what, Names known) const {
  if (!object.is_object()) refuse(what, "an object", object);
  for (const auto& [key, value] : object.items()) {
    const bool is_known = std::find(known.begin(), known.end(), key) != known.end();
    if (!is_known && !value.is_null()) refuse(concat(what, ".", key), "to be absent: it is not supported", value);
  }
}

std::string JsonReader::text(const SortedJson& object, const char* key, std::string_view what) const {
  const SortedJson* value = member(object, key);
  if (value == nullptr || !value->is_string()) {
    refuse(concat(what, ".", key), "a string", value == nullptr ? SortedJson() : *value);
  }
  return value->get<std::string>();
}

bool JsonReader::flag(const SortedJson& object, const char* key, bool absent) const {
  const SortedJson* value = member(object, key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) refuse(key, "true or false", *value);
  return value->get<bool>();
}

int32_t JsonReader::id(const SortedJson& value, std::string_view what) const {
  constexpr int64_t max_id = (int64_t{1} << 24) - 1;  // what is decoded by a table
  if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() > max_id) {
    refuse(what, concat("an id from 0 to ", max_id), value);
  }
  return static_cast<int32_t>(value.get<int64_t>());
}

std::string JsonReader::type(const SortedJson& object, const char* what) const {
  if (!object.is_object()) refuse(what, "an object", object);
  return text(object, "type", what);
}

void JsonReader::read_normalizer(const SortedJson& node) {
  const std::string name = type(node, "normalizer");
  if (name == "Sequence") {
    check_members(node, "normalizer", {"type", "normalizers"});
    const SortedJson* list = member(node, "normalizers");
    if (list == nullptr || !list->is_array()) refuse("normalizer.normalizers", "a list", node);
    for (const SortedJson& part : *list) read_normalizer(part);
    return;
  }
  check_members(node, "normalizer", {"type"});
  if (name == "NFC") {
    parts_.normal_forms.push_back(NormalForm::nfc);
  } else if (name == "NFD") {
    parts_.normal_forms.push_back(NormalForm::nfd);
  } else if (name == "NFKC") {
    parts_.normal_forms.push_back(NormalForm::nfkc);
  } else if (name == "NFKD") {
    parts_.normal_forms.push_back(NormalForm::nfkd);
  } else {
    refuse("normalizer.type", "NFC, NFD, NFKC, NFKD or Sequence", name);
  }
}

void JsonReader::read_pre_tokenizer(const SortedJson& node) {
  const std::string name = type(node, "pre_tokenizer");
  if (has_byte_level_) refuse("pre_tokenizer", "ByteLevel to be the last", name);
  if (name == "Sequence") {
    check_members(node, "pre_tokenizer", {"type", "pretokenizers"});
    const SortedJson* list = member(node, "pretokenizers");
    if (list == nullptr || !list->is_array()) refuse("pre_tokenizer.pretokenizers", "a list", node);
    for (const SortedJson& part : *list) read_pre_tokenizer(part);
  } else if (name == "ByteLevel") {
    read_byte_level(node);
  } else if (name == "Split") {
    read_split(node);
  } else if (name == "Digits") {
    check_members(node, "pre_tokenizer", {"type", "individual_digits"});
    const SplitPattern& pattern = digits_pattern(flag(node, "individual_digits", false));
    parts_.steps.push_back({false, std::make_shared<SplitRegex>(pattern)});
  } else {
    refuse("pre_tokenizer.type", "ByteLevel, Split, Digits or Sequence", name);
  }
}

void JsonReader::read_byte_level(const SortedJson& node) {
  check_members(node, "pre_tokenizer", {"type", "add_prefix_space", "trim_offsets", "use_regex"});
  PreTokenizerStep step;
  step.prefix_space = flag(node, "add_prefix_space", true);
  if (flag(node, "use_regex", true)) step.pattern = std::make_shared<SplitRegex>(gpt2_pattern());
  if (step.prefix_space || step.pattern) parts_.steps.push_back(step);
  has_byte_level_ = true;
}

// Every known pattern covers every text, so what is matched, inverted and "removed" is what is isolated.
void JsonReader::read_split(const SortedJson& node) {
  check_members(node, "pre_tokenizer", {"type", "pattern", "behavior", "invert"});
  const SortedJson* pattern = member(node, "pattern");
  if (pattern == nullptr || !pattern->is_object() || member(*pattern, "Regex") == nullptr) {
    refuse("pre_tokenizer.pattern", "a Regex", pattern == nullptr ? SortedJson() : *pattern);
  }
  const std::string behavior = text(node, "behavior", "pre_tokenizer");
  const bool invert = flag(node, "invert", false);
  if (behavior != "Isolated" && !(behavior == "Removed" && invert)) {
    refuse("pre_tokenizer.behavior", "Isolated, or Removed with invert",
           concat(behavior, invert ? " with invert" : ""));
  }
  const std::string expression = text(*pattern, "Regex", "pre_tokenizer.pattern");
  for (const SplitPattern& known : json_patterns()) {
    if (expression != known.pattern) continue;
    parts_.steps.push_back({false, std::make_shared<SplitRegex>(known)});
    return;
  }
  fail("tokenizer", concat(path_, ": pre_tokenizer.pattern.Regex required the published pattern of ",
                           pattern_names(json_patterns()), ", found ", one_line(expression, 300)));
}

void JsonReader::check_post_processor(const SortedJson& node) const {
  const std::string name = type(node, "post_processor");
  if (name == "Sequence") {
    const SortedJson* list = member(node, "processors");
    if (list == nullptr || !list->is_array()) refuse("post_processor.processors", "a list", node);
    for (const SortedJson& part : *list) check_post_processor(part);
  } else if (name != "ByteLevel" && name != "TemplateProcessing") {
    refuse("post_processor.type", "ByteLevel, TemplateProcessing or Sequence", name);
  }
}

void JsonReader::set_token(int32_t token_id, std::string bytes) {
  const auto index = static_cast<size_t>(token_id);
  if (index >= parts_.tokens.size()) parts_.tokens.resize(index + 1);
  parts_.tokens[index] = std::move(bytes);
}

void JsonReader::read_vocabulary(const SortedJson& vocabulary) {
  BpeParts& bpe = parts_.bpe;
  for (const auto& [token, value] : vocabulary.items()) {
    const int32_t token_id = id(value, concat("model.vocab[", one_line(token, 60), "]"));
    const auto index = static_cast<size_t>(token_id);
    if (index < parts_.tokens.size() && parts_.tokens[index]) {
      refuse("model.vocab", concat("ids that are given once, found id ", token_id, " twice, the second time for"),
             token);
    }
    vocabulary_.emplace(token, token_id);
    std::optional<std::string> bytes = bytes_of_characters(token);
    if (bytes) bpe.ids.emplace(*bytes, token_id);
    set_token(token_id, std::move(bytes).value_or(token));
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    const auto found = bpe.ids.find(std::string_view(std::string(1, static_cast<char>(byte))));
    bpe.byte_ids[byte] = found == bpe.ids.end() ? -1 : found->second;
  }
}

std::pair<std::string, std::string> JsonReader::merge_of(const SortedJson& merge) const {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  const std::string both = merge.is_string() ? merge.get<std::string>() : std::string();
  const size_t space = both.find(' ');
  if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos) {
    refuse("model.merges", "two tokens, as a list or with one space between", merge);
  }
  return {both.substr(0, space), both.substr(space + 1)};
}

void JsonReader::read_merges(const SortedJson& merges) {
  BpeParts& bpe = parts_.bpe;
  for (const SortedJson& merge : merges) {
    const auto [left, right] = merge_of(merge);
    const auto left_id = vocabulary_.find(left), right_id = vocabulary_.find(right);
    const auto merged = vocabulary_.find(left + right);
    for (const auto& found : {left_id, right_id, merged}) {
      if (found == vocabulary_.end()) refuse("model.merges", "tokens of model.vocab", merge);
    }
    bpe.merges.emplace_back(left_id->second, right_id->second);
    bpe.merged_ids.push_back(merged->second);
  }
}

void JsonReader::read_model(const SortedJson& model) {
  check_members(model, "model",
                {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                 "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (const SortedJson* name = member(model, "type"); name != nullptr && *name != "BPE") {
    refuse("model.type", "BPE", *name);
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const SortedJson* value = member(model, key);
    if (value != nullptr && !(value->is_string() && value->get_ref<const std::string&>().empty())) {
      refuse(concat("model.", key), "null or nothing, as byte-level models have it", *value);
    }
  }
  if (const SortedJson* dropout = member(model, "dropout"); dropout != nullptr && *dropout != 0.0) {
    refuse("model.dropout", "null or 0", *dropout);
  }
  const SortedJson* vocabulary = member(model, "vocab");
  const SortedJson* merges = member(model, "merges");
  if (vocabulary == nullptr || !vocabulary->is_object()) refuse("model.vocab", "an object", SortedJson());
  if (merges == nullptr || !merges->is_array()) refuse("model.merges", "a list", SortedJson());
  read_vocabulary(*vocabulary);
  read_merges(*merges);
  BpeParts& bpe = parts_.bpe;
  bpe.whole_pieces_first = flag(model, "ignore_merges", false);
  bpe.fuse_unknown = flag(model, "fuse_unk", false);
  const bool incomplete = std::count(bpe.byte_ids.begin(), bpe.byte_ids.end(), -1) > 0;
  if (flag(model, "byte_fallback", false) && incomplete) {
    refuse("model.byte_fallback", "false where a byte has no token", true);
  }
  if (const SortedJson* unknown = member(model, "unk_token"); unknown != nullptr && incomplete) {
    const auto found = vocabulary_.find(text(model, "unk_token", "model"));
    if (found == vocabulary_.end()) refuse("model.unk_token", "a token of model.vocab", *unknown);
    bpe.unknown_id = found->second;
  }
}

AddedToken JsonReader::added_token(const SortedJson& node) const {
  check_members(node, "added_tokens", {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.content = text(node, "content", "added_tokens");
  token.special = flag(node, "special", false);
  token.single_word = flag(node, "single_word", false);
  token.lstrip = flag(node, "lstrip", false);
  token.rstrip = flag(node, "rstrip", false);
  token.normalized = flag(node, "normalized", !token.special);
  const SortedJson* token_id = member(node, "id");
  token.id = id(token_id == nullptr ? SortedJson() : *token_id, "added_tokens.id");
  return token;
}

// The reference gives the ids again when it reads a file: that of the vocabulary, else the next one.
int32_t JsonReader::id_of_added(const std::string& content) const {
  if (const auto found = vocabulary_.find(content); found != vocabulary_.end()) return found->second;
  int32_t next = static_cast<int32_t>(vocabulary_.size());
  for (const AddedToken& token : parts_.added_tokens) next = std::max(next, token.id + 1);
  return next;
}

void JsonReader::read_added_tokens(const SortedJson& added) {
  if (!added.is_array()) refuse("added_tokens", "a list", added);
  for (const SortedJson& node : added) {
    AddedToken token = added_token(node);
    if (token.content.empty()) continue;  // the reference ignores it
    for (const AddedToken& other : parts_.added_tokens) {
      if (other.content == token.content) refuse("added_tokens", "each content once", node);
    }
    const int32_t expected = id_of_added(token.content);
    if (token.id != expected) {
      refuse("added_tokens.id", concat("id ", expected, ", which the reference library would give"), node);
    }
    set_token(token.id, token.content);
    parts_.added_tokens.push_back(std::move(token));
  }
}

void JsonReader::find_end_of_document() {
  const auto take = [this](std::string_view content) {
    for (const AddedToken& token : parts_.added_tokens) {
      if (token.content == content) parts_.end_of_document = token.id;
    }
    return parts_.end_of_document.has_value();
  };
  for (const char* name : {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"}) {
    if (take(name)) return;
  }
  const std::string beside = join_path(parent_directory(path_), "tokenizer_config.json");
  if (!std::filesystem::exists(beside)) return;
  const SortedJson config = parse_sorted_json(read_file(beside), beside);
  const auto token = config.find("eos_token");
  if (token == config.end()) return;
  if (token->is_string()) take(token->get<std::string>());
  if (token->is_object() && token->contains("content") && (*token)["content"].is_string()) {
    take((*token)["content"].get<std::string>());
  }
}

std::unique_ptr<Tokenizer> JsonReader::read(const SortedJson& root) {
  check_members(root, "file",
                {"version", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"});
  parts_.path = path_;
  const SortedJson* model = member(root, "model");
  if (model == nullptr) refuse("model", "an object", SortedJson());
  if (const SortedJson* node = member(root, "normalizer")) read_normalizer(*node);
  if (const SortedJson* node = member(root, "pre_tokenizer")) read_pre_tokenizer(*node);
  if (!has_byte_level_) refuse("pre_tokenizer", "a ByteLevel", root.value("pre_tokenizer", SortedJson()));
  if (const SortedJson* node = member(root, "post_processor")) check_post_processor(*node);
  if (const SortedJson* node = member(root, "decoder"); node == nullptr || type(*node, "decoder") != "ByteLevel") {
    refuse("decoder.type", "ByteLevel", node == nullptr ? SortedJson() : *node);
  }
  read_model(*model);
  if (const SortedJson* node = member(root, "added_tokens")) read_added_tokens(*node);
  find_end_of_document();
  return std::make_unique<BpeTokenizer>(std::move(parts_));
}

}  // namespace

std::unique_ptr<Tokenizer> read_tokenizer_json(std::string_view bytes, const std::string& path) {
  return JsonReader(path).read(parse_sorted_json(bytes, path));
}

}  // namespace artel
