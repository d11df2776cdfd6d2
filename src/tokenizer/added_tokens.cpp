#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/unicode.h"
#include "util/utf8.h"

namespace artel {
namespace {

uint64_t edge(int32_t node, char byte) {
  return (static_cast<uint64_t>(node) << 8) | static_cast<unsigned char>(byte);
}

// Where the character before `end` > 0 begins.
size_t character_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0U) == 0x80U) --begin;
  return begin;
}

char32_t character_at(std::string_view text, size_t position) {
  return next_character(text, position);
}

size_t space_begin(std::string_view text, size_t end) {
  while (end > 0 && is_white_space(character_at(text, character_before(text, end)))) end = character_before(text, end);
  return end;
}

size_t space_end(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    size_t next = begin;
    if (!is_white_space(next_character(text, next))) break;
    begin = next;
  }
  return begin;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)), token_at_{-1} {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    int32_t node = 0;
    is_first_[static_cast<unsigned char>(tokens_[i].content.front())] = true;
    for (const char byte : tokens_[i].content) {
      const auto [found, is_new] = edges_.try_emplace(edge(node, byte), static_cast<int32_t>(token_at_.size()));
      if (is_new) token_at_.push_back(-1);
      node = found->second;
    }
    token_at_[static_cast<size_t>(node)] = static_cast<int32_t>(i);
  }
}

AddedTokenMatcher::Found AddedTokenMatcher::find_at(std::string_view text, size_t begin) const {
  Found longest;
  int32_t node = 0;
  for (size_t i = begin; i < text.size(); ++i) {
    const auto next = edges_.find(edge(node, text[i]));
    if (next == edges_.end()) break;
    node = next->second;
    const int32_t token = token_at_[static_cast<size_t>(node)];
    if (token >= 0) longest = {&tokens_[static_cast<size_t>(token)], i + 1};
  }
  return longest;
}

bool AddedTokenMatcher::stands_alone(std::string_view text, size_t begin, size_t end) const {
  return (begin == 0 || !is_word_character(character_at(text, character_before(text, begin)))) &&
         (end == text.size() || !is_word_character(character_at(text, end)));
}

void AddedTokenMatcher::split(std::string_view text, std::vector<TextSpan>& spans) const {
  spans.clear();
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    if (tokens_.empty()) break;
    if (!is_first_[static_cast<unsigned char>(text[i])]) {
      ++i;
      continue;
    }
    const Found found = find_at(text, i);
    if (found.token == nullptr) {
      ++i;
      continue;
    }
    size_t begin = i, end = found.end;
    i = end;
    if (found.token->single_word && !stands_alone(text, begin, end)) continue;
    if (found.token->lstrip) begin = std::max(space_begin(text, begin), done);
    if (found.token->rstrip) end = space_end(text, end);
    if (done < begin) spans.push_back({-1, done, begin});
    spans.push_back({found.token->id, begin, end});
    done = end;
  }
  if (done < text.size()) spans.push_back({-1, done, text.size()});
}

}  // namespace artel
