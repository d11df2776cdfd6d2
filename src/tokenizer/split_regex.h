#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "tokenizer/patterns.h"

namespace artel {

/// A split pattern ready to be matched; PCRE2 with its compiler, where the processor has one.
class SplitRegex {
 public:
  explicit SplitRegex(const SplitPattern& pattern);
  ~SplitRegex();
  SplitRegex(SplitRegex&&) noexcept;

  /// What one thread needs to match, for any patterns.
  class Workspace {
   public:
    Workspace();
    ~Workspace();
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

   private:
    friend class SplitRegex;
    struct State;
    std::unique_ptr<State> state_;
  };

  /// Where the piece of `text`, valid UTF-8, ends that begins at `begin` < text.size(): at the end of the match there,
  /// or before the next match. Throws Error when PCRE2 gives up.
  size_t piece_end(std::string_view text, size_t begin, Workspace& workspace) const {
    const size_t end = ascii_word_end(text, begin);
    return end != 0 ? end : match_end(text, begin, workspace);
  }
  /// The same without the short cut for words of ASCII letters.
  size_t match_end(std::string_view text, size_t begin, Workspace& workspace) const;

 private:
  // Where the piece ends if it is known without the regular expression, else 0.
  size_t ascii_word_end(std::string_view text, size_t begin) const;

  struct Code;
  SplitPattern pattern_;
  std::unique_ptr<Code> code_;
};

}  // namespace artel
