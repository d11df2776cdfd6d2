#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace artel {

/// What a pattern does to words of ASCII letters; lets split_regex skip the regular expression for them.
enum class AsciiWords {
  none,       ///< nothing is known
  any_case,   ///< an optional space and the longest run of letters is a piece
  lower_case  ///< the same for an optional space, an optional capital and small letters that no apostrophe follows
};

/// A regular expression that cuts text into pieces: none of them spans two characters of which the first is no white
/// space and the second is a space, or of which the first is a letter or a number and the second is white space.
struct SplitPattern {
  const char* name;     ///< for the command line and for messages; several spellings share one
  const char* pattern;  ///< as written in a tokenizer.json or in the tiktoken library
  AsciiWords ascii_words = AsciiWords::none;
};

/// The patterns that tokenizer.json files may name. Matched as the whole text, for regular expressions that look alike
/// differ between engines.
const std::vector<SplitPattern>& json_patterns();

/// The first of them of this name; null: none.
const SplitPattern* find_json_pattern(std::string_view name);

/// What tiktoken files may be split by: gpt2, r50k, p50k, cl100k, o200k, llama3, qwen2.
const std::vector<SplitPattern>& tiktoken_patterns();
/// The one of them of this name; null: none.
const SplitPattern* find_pattern(std::string_view name);

/// Their names, for messages: "gpt2, …".
std::string pattern_names(const std::vector<SplitPattern>& patterns);

/// GPT-2's pattern, which the pre-tokenizer ByteLevel with use_regex has.
const SplitPattern& gpt2_pattern();
/// The pre-tokenizer Digits: each number alone, or runs of them.
const SplitPattern& digits_pattern(bool individual);

/// The same language in the syntax of PCRE2.
std::string pcre2_pattern(std::string_view pattern);

}  // namespace artel
