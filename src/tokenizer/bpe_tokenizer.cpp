#include "tokenizer/bpe_tokenizer.h"

#include <algorithm>

#include "tokenizer/bpe_encoder.h"
#include "util/error.h"
#include "util/text.h"
#include "util/utf8.h"

namespace artel {
namespace {

std::string normalized(const std::vector<NormalForm>& forms, std::string text) {
  for (const NormalForm form : forms) {
    std::string next;
    normalize(form, text, next);
    text = std::move(next);
  }
  return text;
}

AddedTokenMatcher matcher_of(const BpeTokenizerParts& parts, bool in_normalized_text) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : parts.added_tokens) {
    if (token.normalized != in_normalized_text) continue;
    if (in_normalized_text) token.content = normalized(parts.normal_forms, token.content);
    if (!token.content.empty()) tokens.push_back(std::move(token));
  }
  return AddedTokenMatcher(std::move(tokens));
}

// Whether white space stands behind something else in `text`.
bool has_inner_space(std::string_view text) {
  bool after_other = false;
  for (size_t i = 0; i < text.size();) {
    const bool space = is_white_space(next_character(text, i));
    if (space && after_other) return true;
    after_other = after_other || !space;
  }
  return false;
}

bool begins_with_space(std::string_view text) {
  size_t i = 0;
  return !text.empty() && is_white_space(next_character(text, i));
}

// A token over or beside the cut must be found alike in the parts and in the whole.
bool allows_cuts(const BpeTokenizerParts& parts) {
  return std::none_of(parts.added_tokens.begin(), parts.added_tokens.end(), [&](const AddedToken& token) {
    const std::string other = normalized(parts.normal_forms, token.content);
    return token.rstrip || has_inner_space(token.content) || has_inner_space(other) ||
           (token.single_word && (begins_with_space(token.content) || begins_with_space(other)));
  });
}

// What stands before a possible cut.
struct Before {
  bool is_ascii = false;
  bool is_space = false;
  bool is_letter_or_number = false;
};

Before before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && end - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0U) == 0x80U) --begin;
  const Utf8Start start = utf8_start(text.substr(begin, end - begin));
  if (start.kind != Utf8Start::Kind::valid || start.num_bytes != end - begin) return {};
  const char32_t character = next_character(text, begin);
  return {character < 0x80, is_white_space(character), is_letter_or_number(character)};
}

}  // namespace

BpeTokenizer::BpeTokenizer(BpeTokenizerParts parts)
    : parts_(std::move(parts)),
      model_(std::move(parts_.bpe)),
      in_text_(matcher_of(parts_, false)),
      in_normalized_text_(matcher_of(parts_, true)),
      can_be_cut_(allows_cuts(parts_)) {
  for (const PreTokenizerStep& step : parts_.steps) prefix_space_ = prefix_space_ || step.prefix_space;
}

bool BpeTokenizer::has_id(int64_t id) const {
  return id >= 0 && id < num_ids() && parts_.tokens[static_cast<size_t>(id)].has_value();
}

bool BpeTokenizer::is_special(int32_t id) const {
  return Tokenizer::is_special(id) ||
         std::find(parts_.special_ids.begin(), parts_.special_ids.end(), id) != parts_.special_ids.end() ||
         std::any_of(parts_.added_tokens.begin(), parts_.added_tokens.end(),
                     [&](const AddedToken& token) { return token.special && token.id == id; });
}

int32_t BpeTokenizer::end_of_document() const {
  if (!parts_.end_of_document) {
    fail("tokenizer", concat(parts_.path,
                             ": required an end-of-document token (<|endoftext|>, <|end_of_text|>, </s>, <eos>, or "
                             "eos_token in tokenizer_config.json beside it), found none; name one where the command "
                             "has an option for it"));
  }
  return *parts_.end_of_document;
}

std::optional<int32_t> BpeTokenizer::find_token(std::string_view token) const {
  for (const AddedToken& added : parts_.added_tokens) {
    if (added.content == token) return added.id;
  }
  const auto found = model_.parts().ids.find(token);
  if (found == model_.parts().ids.end()) return std::nullopt;
  return found->second;
}

std::unique_ptr<Encoder> BpeTokenizer::make_encoder() const {
  return std::make_unique<BpeEncoder>(*this);
}

std::string BpeTokenizer::decode(const std::vector<int32_t>& ids) const {
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!has_id(ids[i])) {
      fail("tokenizer", concat("required ids of ", parts_.path, " (below ", num_ids(), "), found ", ids[i],
                               " at position ", i, ", which no token has"));
    }
    text += *parts_.tokens[static_cast<size_t>(ids[i])];
  }
  return text;
}

// A space behind anything but white space, or white space behind a letter or a number, begins a piece in every pattern
// (SplitPattern), and what follows it does not change what is before.
size_t BpeTokenizer::safe_cut(std::string_view text) const {
  if (!can_be_cut_) return 0;
  for (size_t p = text.size(); p-- > 1;) {
    const bool line_end = text[p] == '\n' || text[p] == '\r';
    if (text[p] != ' ' && (!line_end || prefix_space_)) continue;
    const Before left = before(text, p);
    if (!parts_.normal_forms.empty() && !left.is_ascii) continue;
    if (line_end ? left.is_letter_or_number : !left.is_space) return p;
  }
  return 0;
}

std::vector<int32_t> BpeTokenizer::missing_bytes() const {
  std::vector<int32_t> missing;
  for (int32_t byte = 0; byte < 256; ++byte) {
    if (model_.parts().byte_ids[static_cast<size_t>(byte)] < 0) missing.push_back(byte);
  }
  return missing;
}

}  // namespace artel
