#include "tokenizer/split_regex.h"

#include <iterator>

#include "support/catch.h"
#include "tokenizer/golden_lines.h"

using namespace artel;

TEST_CASE("The short cut for ASCII words cuts where the regular expression does") {
  const std::string letters[] = {" ", "a", "b", "z", "A", "Z", "'", "s", "0", ".", "\n", "\t", "\u00e9", "\u0301"};
  SplitRegex::Workspace workspace;
  GoldenRandom random(11);
  for (const SplitPattern& pattern : json_patterns()) {
    const SplitRegex regex(pattern);
    size_t num_pieces = 0;
    for (int i = 0; i < 4000; ++i) {
      std::string text;
      for (uint64_t size = 1 + random.below(12); size > 0; --size) text += letters[random.below(std::size(letters))];
      for (size_t begin = 0; begin < text.size(); ++num_pieces) {
        const size_t end = regex.match_end(text, begin, workspace);
        INFO(pattern.name << ": " << escape_text(text) << " at " << begin);
        REQUIRE(regex.piece_end(text, begin, workspace) == end);
        begin = end;
      }
    }
    CHECK(num_pieces > 4000);
  }
}

TEST_CASE("White space is Unicode's: U+180E is none, U+0085 and U+2028 are") {
  CHECK(pcre2_pattern(R"(\S|[^\s\p{L}]\n)") ==
        R"([^\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}])"
        R"(|[^\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\p{L}]\n)");
  const SplitRegex regex(gpt2_pattern());
  SplitRegex::Workspace workspace;
  CHECK(regex.match_end("\u180e!", 0, workspace) == 4);
  CHECK(regex.match_end("\u2028!", 0, workspace) == 3);
  CHECK(regex.match_end("\u0085!", 0, workspace) == 2);
}

TEST_CASE("Two million bytes of white space or of one letter are one piece") {
  SplitRegex::Workspace workspace;
  for (const SplitPattern& pattern : json_patterns()) {
    const SplitRegex regex(pattern);
    for (const char letter : {' ', '\n', 'a', '!'}) {
      const std::string text(2'000'000, letter);
      CHECK(regex.match_end(text, 0, workspace) == text.size());
    }
  }
}
