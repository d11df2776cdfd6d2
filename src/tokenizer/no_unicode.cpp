#include "tokenizer/split_regex.h"
#include "tokenizer/unicode.h"
#include "util/error.h"

// What takes the place of split_regex.cpp and unicode.cpp in a build without PCRE2 and ICU.

namespace artel {
namespace {

[[noreturn]] void refuse() {
  fail("tokenizer",
       "required a build with tokenizers (-DARTEL_TOKENIZERS=ON), found one that has the bytes tokenizer alone");
}

}  // namespace

struct SplitRegex::Code {};
struct SplitRegex::Workspace::State {};

SplitRegex::Workspace::Workspace() = default;
SplitRegex::Workspace::~Workspace() = default;
SplitRegex::SplitRegex(const SplitPattern&) {
  refuse();
}
SplitRegex::~SplitRegex() = default;
SplitRegex::SplitRegex(SplitRegex&&) noexcept = default;

size_t SplitRegex::match_end(std::string_view, size_t, Workspace&) const {
  refuse();
}
size_t SplitRegex::ascii_word_end(std::string_view, size_t) const {
  refuse();
}

bool is_white_space(char32_t) {
  refuse();
}
bool is_letter_or_number(char32_t) {
  refuse();
}
bool is_word_character(char32_t) {
  refuse();
}
void normalize(NormalForm, std::string_view, std::string&) {
  refuse();
}
bool is_normalized(NormalForm, std::string_view) {
  refuse();
}

}  // namespace artel
