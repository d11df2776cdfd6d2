#include "tokenizer/bpe_encoder.h"

#include "util/utf8.h"

namespace artel {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

}  // namespace

BpeEncoder::BpeEncoder(const BpeTokenizer& tokenizer)
    : tokenizer_(tokenizer),
      normalized_(tokenizer.parts_.normal_forms.size()),
      prefixed_(tokenizer.parts_.steps.size()) {}

void BpeEncoder::encode(std::string_view text, std::vector<int32_t>& ids) {
  auto add = [&](std::string_view piece) { encode_piece(originals_.empty() ? piece : with_invalid_bytes(piece), ids); };
  auto add_token = [&](int32_t id, std::string_view content) {
    with_invalid_bytes(content);
    ids.push_back(id);
  };
  split_text(text, add, add_token);
}

void BpeEncoder::encode_piece(std::string_view piece, std::vector<int32_t>& ids) {
  if (piece.size() > WordCache::max_bytes) return tokenizer_.model_.encode(piece, bpe_workspace_, ids);
  uint32_t tag = 0;
  WordCache::Slot& slot = cache_.place(piece, tag);
  if (WordCache::holds(slot, tag, piece)) {
    ids.insert(ids.end(), slot.ids.begin(), slot.ids.begin() + slot.num_ids);
    return;
  }
  const size_t before = ids.size();
  tokenizer_.model_.encode(piece, bpe_workspace_, ids);
  WordCache::keep(slot, tag, piece, ids.data() + before, ids.size() - before);
}

// `text`, or a copy with U+FFFD for what is no UTF-8; then originals_ says what each U+FFFD of the copy stands for.
std::string_view BpeEncoder::replace_invalid(std::string_view text) {
  originals_.clear();
  next_original_ = 0;
  if (utf8_valid_bytes(text) == text.size()) return text;
  replaced_.clear();
  const auto copy_valid = [&](std::string_view part) {
    for (size_t i = part.find(replacement); i != std::string_view::npos; i = part.find(replacement, i + 1)) {
      originals_.push_back(part.substr(i, replacement.size()));
    }
    replaced_ += part;
  };
  while (!text.empty()) {
    const size_t valid = utf8_valid_bytes(text);
    copy_valid(text.substr(0, valid));
    text.remove_prefix(valid);
    if (text.empty()) break;
    const size_t invalid = utf8_invalid_bytes(text);
    originals_.push_back(text.substr(0, invalid));
    replaced_ += replacement;
    text.remove_prefix(invalid);
  }
  return replaced_;
}

// Normal forms neither make nor take away U+FFFD, so its occurrences can be counted from the left.
std::string_view BpeEncoder::with_invalid_bytes(std::string_view piece) {
  if (originals_.empty() || piece.find(replacement) == std::string_view::npos) return piece;
  restored_.clear();
  size_t done = 0;
  for (size_t i = piece.find(replacement); i != std::string_view::npos; i = piece.find(replacement, done)) {
    restored_ += piece.substr(done, i - done);
    restored_ += originals_[next_original_++];
    done = i + replacement.size();
  }
  restored_ += piece.substr(done);
  return restored_;
}

std::string_view BpeEncoder::normal_form(std::string_view text) {
  const std::vector<NormalForm>& forms = tokenizer_.parts_.normal_forms;
  for (size_t i = 0; i < forms.size(); ++i) {
    if (is_normalized(forms[i], text)) continue;
    normalized_[i].clear();
    normalize(forms[i], text, normalized_[i]);
    text = normalized_[i];
  }
  return text;
}

}  // namespace artel
