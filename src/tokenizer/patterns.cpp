#include "tokenizer/patterns.h"

#include "util/error.h"
#include "util/text.h"

// What the public tokenizers are split by. The published expressions are data: a piece more or less would be other ids.
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define AFTER_NUMBERS R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define CASED_WORDS(suffix) \
  R"([^\r\n\p{L}\p{N}]?)" UPPER "*" LOWER "+" suffix R"(|[^\r\n\p{L}\p{N}]?)" UPPER "+" LOWER "*" suffix
#define AFTER_CASED R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define GPT2 R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"
#define LLAMA3 CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})" AFTER_NUMBERS
// As LLAMA3, but white space at the end of the text is one piece, whatever line ends are in it.
#define CL100K \
  CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+$|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define QWEN2 CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" AFTER_NUMBERS
#define O200K CASED_WORDS(CONTRACTIONS "?") R"(|\p{N}{1,3})" AFTER_CASED

namespace artel {
namespace {

// The white space of Unicode, which PCRE2's \s extends by U+180E.
constexpr std::string_view white_space =
    R"(\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

}  // namespace

const std::vector<SplitPattern>& tiktoken_patterns() {
  static const std::vector<SplitPattern> patterns = {
      {"gpt2", GPT2, AsciiWords::any_case},     {"r50k", GPT2, AsciiWords::any_case},
      {"p50k", GPT2, AsciiWords::any_case},     {"cl100k", CL100K, AsciiWords::any_case},
      {"o200k", O200K, AsciiWords::lower_case}, {"llama3", LLAMA3, AsciiWords::any_case},
      {"qwen2", QWEN2, AsciiWords::any_case},
  };
  return patterns;
}

const std::vector<SplitPattern>& json_patterns() {
  static const std::vector<SplitPattern> patterns = {
      {"gpt2", GPT2, AsciiWords::any_case},
      {"gpt2", R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", AsciiWords::any_case},
      {"llama3", LLAMA3, AsciiWords::any_case},
      {"qwen2", QWEN2, AsciiWords::any_case},
      {"qwen3.5",
       CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+)"
                    R"(|\s+(?!\S)|\s+)",
       AsciiWords::any_case},
      {"o200k", O200K, AsciiWords::lower_case},
      {"tekken", CASED_WORDS("") R"(|\p{N})" AFTER_CASED, AsciiWords::lower_case},
  };
  return patterns;
}

const SplitPattern* find_json_pattern(std::string_view name) {
  for (const SplitPattern& pattern : json_patterns()) {
    if (pattern.name == name) return &pattern;
  }
  return nullptr;
}

const SplitPattern* find_pattern(std::string_view name) {
  for (const SplitPattern& pattern : tiktoken_patterns()) {
    if (pattern.name == name) return &pattern;
  }
  return nullptr;
}

std::string pattern_names(const std::vector<SplitPattern>& patterns) {
  std::vector<std::string> names;
  for (const SplitPattern& pattern : patterns) {
    if (names.empty() || names.back() != pattern.name) names.emplace_back(pattern.name);
  }
  return join(names, ", ");
}

const SplitPattern& gpt2_pattern() {
  return tiktoken_patterns().front();
}

const SplitPattern& digits_pattern(bool individual) {
  static const SplitPattern one = {"digits", R"(\p{N})"}, run = {"digits", R"(\p{N}+)"};
  return individual ? one : run;
}

std::string pcre2_pattern(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\') {
      if (pattern[i] == '[') in_class = true;
      if (pattern[i] == ']') in_class = false;
      if (pattern[i] == '$' && !in_class) {
        out += R"(\z)";  // the end of the text, not of a line
      } else {
        out += pattern[i];
      }
      continue;
    }
    const char letter = pattern[++i];
    if (letter == 's') {
      out += in_class ? std::string(white_space) : concat('[', white_space, ']');
    } else if (letter == 'S' && !in_class) {
      out += concat("[^", white_space, ']');
    } else {
      out += '\\';
      out += letter;
    }
  }
  return out;
}

}  // namespace artel
