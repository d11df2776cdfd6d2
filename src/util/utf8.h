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
