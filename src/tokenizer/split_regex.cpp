#include "tokenizer/split_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstdint>
#include <limits>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

std::string pcre2_message(int code) {
  std::array<unsigned char, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

struct Release {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

bool is_small(char letter) {
  return letter >= 'a' && letter <= 'z';
}
bool is_capital(char letter) {
  return letter >= 'A' && letter <= 'Z';
}

}  // namespace

struct SplitRegex::Code {
  std::unique_ptr<pcre2_code, Release> code;
  bool jit = false;
};

struct SplitRegex::Workspace::State {
  std::unique_ptr<pcre2_match_data, Release> data{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, Release> context{pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, Release> stack{pcre2_jit_stack_create(size_t{32} << 10, size_t{8} << 20, nullptr)};
};

SplitRegex::Workspace::Workspace() : state_(std::make_unique<State>()) {
  if (!state_->data || !state_->context) fail("tokenizer", "required memory for a split pattern, found none");
  // A long run of white space is no reason to give up.
  pcre2_set_match_limit(state_->context.get(), std::numeric_limits<uint32_t>::max());
  pcre2_set_depth_limit(state_->context.get(), std::numeric_limits<uint32_t>::max());
  pcre2_set_heap_limit(state_->context.get(), std::numeric_limits<uint32_t>::max());
  if (state_->stack) pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
}
SplitRegex::Workspace::~Workspace() = default;

SplitRegex::SplitRegex(const SplitPattern& pattern) : pattern_(pattern), code_(std::make_unique<Code>()) {
  const std::string text = pcre2_pattern(pattern.pattern);
  int error = 0;
  size_t offset = 0;
  code_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), PCRE2_UTF | PCRE2_UCP, &error,
                                  &offset, nullptr));
  if (!code_->code) {
    fail("tokenizer", concat("required PCRE2 to compile the pattern ", pattern.name, ", found at byte ", offset, ": ",
                             pcre2_message(error)));
  }
  code_->jit = pcre2_jit_compile(code_->code.get(), PCRE2_JIT_COMPLETE) == 0;
}
SplitRegex::~SplitRegex() = default;
SplitRegex::SplitRegex(SplitRegex&&) noexcept = default;

size_t SplitRegex::match_end(std::string_view text, size_t begin, Workspace& workspace) const {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  Workspace::State& state = *workspace.state_;
  const auto match = code_->jit ? pcre2_jit_match : pcre2_match;
  const int result =
      match(code_->code.get(), subject, text.size(), begin, PCRE2_NO_UTF_CHECK, state.data.get(), state.context.get());
  if (result == PCRE2_ERROR_NOMATCH) return text.size();
  if (result < 0) {
    fail("tokenizer", concat("required a piece by the pattern ", pattern_.name, " at byte ", begin, " of ", text.size(),
                             " bytes, found PCRE2's error ", result, ": ", pcre2_message(result)));
  }
  const size_t* bounds = pcre2_get_ovector_pointer(state.data.get());
  if (bounds[0] > begin) return bounds[0];
  if (bounds[1] <= begin) fail("tokenizer", concat("required a piece by the pattern ", pattern_.name, ", found none"));
  return bounds[1];
}

size_t SplitRegex::ascii_word_end(std::string_view text, size_t begin) const {
  if (pattern_.ascii_words == AsciiWords::none) return 0;
  size_t i = begin;
  if (text[i] == ' ' && ++i == text.size()) return 0;
  const size_t word = i;
  const bool any_case = pattern_.ascii_words == AsciiWords::any_case;
  if (is_capital(text[i])) ++i;
  while (i < text.size() && (is_small(text[i]) || (any_case && is_capital(text[i])))) ++i;
  if (i == word || (!any_case && !is_small(text[i - 1]))) return 0;
  if (i == text.size()) return i;
  const char next = text[i];
  if (static_cast<unsigned char>(next) >= 0x80) return 0;
  return !any_case && (next == '\'' || is_capital(next)) ? 0 : i;
}

}  // namespace artel
