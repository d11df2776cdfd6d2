#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace artel {

/// What stands at the beginning of a text that should be UTF-8.
struct Utf8Start {
  enum class Kind { valid, incomplete, invalid };
  Kind kind = Kind::invalid;
  size_t num_bytes = 1;  ///< valid: of the character; incomplete: all that is left; invalid: 1
};

/// Looks at the first character of `text`, which is not empty. Overlong forms, surrogates and what lies beyond U+10FFFF
/// are invalid; a character whose beginning is right but which the text ends in is incomplete.
Utf8Start utf8_start(std::string_view text);

/// Bytes at the beginning of `text`, which are no character, that decoders replace by one U+FFFD: the longest beginning
/// of a character, at least 1 (Unicode's practice of maximal subparts, as Python's errors="replace").
size_t utf8_invalid_bytes(std::string_view text);

/// Bytes of the longest beginning of `text` that is UTF-8.
size_t utf8_valid_bytes(std::string_view text);

/// `text` with U+FFFD for what is no UTF-8, one for each utf8_invalid_bytes.
std::string replace_invalid_utf8(std::string_view text);

/// The character of valid UTF-8 that begins at `position`, which moves behind it.
char32_t next_character(std::string_view text, size_t& position);

/// Appends the UTF-8 of a code point that is no surrogate.
void append_utf8(std::string& out, char32_t code_point);

/// `text` on one line of printable UTF-8, from which the bytes can be had back: backslash, line feed, carriage return
/// and tab become \\, \n, \r and \t, other control characters and bytes that are no UTF-8 become \xNN.
std::string escape_text(std::string_view text);

/// Makes text that comes in pieces fit for a terminal: control characters but line feed and tab, and bytes that are no
/// UTF-8, become \xNN. A character cut in two by the pieces is held back until the rest comes.
class TerminalText {
 public:
  std::string add(std::string_view piece);
  /// What was held back.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace artel
