#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace artel {

/// A token that is looked for in the text before anything else is done with it.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< only where no letter, digit, mark or connector touches it
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< and behind it
  bool normalized = false;   ///< looked for in the normalised text, else in the text as given
  bool special = false;
};

/// A stretch of text: a token, or (id -1) text between tokens.
struct TextSpan {
  int32_t id = -1;
  size_t begin = 0, end = 0;
};

/// Finds added tokens: from the left, the longest at each place.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  /// The contents must not be empty.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }
  /// Cuts `text`, valid UTF-8, into tokens and text between them, which is never empty. Replaces `spans`.
  void split(std::string_view text, std::vector<TextSpan>& spans) const;

 private:
  struct Found {
    const AddedToken* token = nullptr;
    size_t end = 0;
  };
  Found find_at(std::string_view text, size_t begin) const;
  bool stands_alone(std::string_view text, size_t begin, size_t end) const;

  std::vector<AddedToken> tokens_;
  bool is_first_[256] = {};                      // whether a token begins with this byte
  std::unordered_map<uint64_t, int32_t> edges_;  // of a trie: node and byte to node
  std::vector<int32_t> token_at_;                // the token that ends at each node; -1: none
};

}  // namespace artel
