#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/word_cache.h"

namespace artel {

/// A BpeTokenizer's encoder: text, added tokens, normal form, added tokens, pieces, ids.
class BpeEncoder : public Encoder {
 public:
  explicit BpeEncoder(const BpeTokenizer& tokenizer);

  void encode(std::string_view text, std::vector<int32_t>& ids) override;
  /// Calls add(piece) for each piece of `text` that is no added token: what byte-pair encoding works on.
  template <typename Add>
  void for_each_piece(std::string_view text, Add add);

 private:
  std::string_view replace_invalid(std::string_view text);
  std::string_view normal_form(std::string_view text);
  void encode_piece(std::string_view piece, std::vector<int32_t>& ids);
  std::string_view with_invalid_bytes(std::string_view piece);

  // What is done with each piece, and with each added token.
  template <typename Add, typename AddToken>
  void split_text(std::string_view text, Add& add, AddToken& add_token);
  template <typename Add>
  void split_piece(std::string_view piece, size_t step, Add& add);

  const BpeTokenizer& tokenizer_;
  SplitRegex::Workspace split_workspace_;
  BpeModel::Workspace bpe_workspace_;
  WordCache cache_;
  std::vector<TextSpan> spans_, normalized_spans_;
  std::string replaced_;                     // the text with U+FFFD for what is no UTF-8
  std::deque<std::string> normalized_;       // one for each normal form
  std::vector<std::string> prefixed_;        // one for each step
  std::vector<std::string_view> originals_;  // what each U+FFFD of replaced_ stands for, in order
  size_t next_original_ = 0;
  std::string restored_;
};

template <typename Add>
void BpeEncoder::split_piece(std::string_view piece, size_t step, Add& add) {
  const std::vector<PreTokenizerStep>& steps = tokenizer_.parts_.steps;
  if (step == steps.size()) return add(piece);
  if (steps[step].prefix_space && piece.front() != ' ') {
    prefixed_[step].assign(1, ' ').append(piece);
    piece = prefixed_[step];
  }
  if (!steps[step].pattern) return split_piece(piece, step + 1, add);
  const bool last = step + 1 == steps.size();
  for (size_t begin = 0; begin < piece.size();) {
    const size_t end = steps[step].pattern->piece_end(piece, begin, split_workspace_);
    const std::string_view part = piece.substr(begin, end - begin);
    if (last) {
      add(part);
    } else {
      split_piece(part, step + 1, add);
    }
    begin = end;
  }
}

template <typename Add, typename AddToken>
void BpeEncoder::split_text(std::string_view text, Add& add, AddToken& add_token) {
  text = replace_invalid(text);
  tokenizer_.in_text_.split(text, spans_);
  for (const TextSpan& outer : spans_) {
    const std::string_view part = text.substr(outer.begin, outer.end - outer.begin);
    if (outer.id >= 0) {
      add_token(outer.id, part);
      continue;
    }
    const std::string_view normal = normal_form(part);
    tokenizer_.in_normalized_text_.split(normal, normalized_spans_);
    for (const TextSpan& inner : normalized_spans_) {
      const std::string_view piece = normal.substr(inner.begin, inner.end - inner.begin);
      if (inner.id >= 0) {
        add_token(inner.id, piece);
      } else {
        split_piece(piece, 0, add);
      }
    }
  }
}

template <typename Add>
void BpeEncoder::for_each_piece(std::string_view text, Add add) {
  auto add_restored = [&](std::string_view piece) { add(originals_.empty() ? piece : with_invalid_bytes(piece)); };
  auto add_token = [&](int32_t, std::string_view content) { with_invalid_bytes(content); };
  split_text(text, add_restored, add_token);
}

}  // namespace artel
