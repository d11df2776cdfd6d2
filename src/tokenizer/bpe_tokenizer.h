#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/split_regex.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

namespace artel {

/// One step from text to pieces, done to every piece of the step before.
struct PreTokenizerStep {
  bool prefix_space = false;            ///< a piece that does not begin with a space gets one
  std::shared_ptr<SplitRegex> pattern;  ///< then it is split by this; null: not
};

/// What a byte-level tokenizer is made of.
struct BpeTokenizerParts {
  std::string path;                      ///< for messages
  std::vector<NormalForm> normal_forms;  ///< applied one after the other
  std::vector<AddedToken> added_tokens;
  std::vector<PreTokenizerStep> steps;
  BpeParts bpe;
  std::vector<std::optional<std::string>> tokens;  ///< what each id stands for; none: no token has it
  std::optional<int32_t> end_of_document;
  std::vector<int32_t> special_ids;  ///< besides end_of_document and the added tokens that say so themselves
};

/// Byte-level byte-pair encoding as the Hugging Face library `tokenizers` does it without special tokens around the
/// text, and tiktoken without special tokens in it.
///
/// Bytes that are no UTF-8 are kept: each utf8_invalid_bytes counts as one U+FFFD when text is normalised, searched for
/// added tokens and split, and its bytes stand in the piece in place of U+FFFD's. So decode(encode(x)) == x for any
/// bytes if every byte has a token, there is no normalisation, no space put in front, and no added token takes white
/// space.
class BpeTokenizer : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeTokenizerParts parts);

  int64_t num_ids() const override { return static_cast<int64_t>(parts_.tokens.size()); }
  bool has_id(int64_t id) const override;
  bool is_special(int32_t id) const override;
  bool has_end_of_document() const override { return parts_.end_of_document.has_value(); }
  int32_t end_of_document() const override;
  std::optional<int32_t> find_token(std::string_view token) const override;
  std::unique_ptr<Encoder> make_encoder() const override;
  std::string decode(const std::vector<int32_t>& ids) const override;
  size_t safe_cut(std::string_view text) const override;
  std::vector<int32_t> missing_bytes() const override;

 private:
  friend class BpeEncoder;

  BpeTokenizerParts parts_;
  BpeModel model_;
  AddedTokenMatcher in_text_, in_normalized_text_;
  bool can_be_cut_ = true;
  bool prefix_space_ = false;
};

}  // namespace artel
