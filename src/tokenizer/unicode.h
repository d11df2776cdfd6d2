#pragma once

#include <string>
#include <string_view>

namespace artel {

// What is asked of Unicode besides the split patterns, answered by ICU.

/// The property White_Space.
bool is_white_space(char32_t code_point);
/// General category L or N.
bool is_letter_or_number(char32_t code_point);
/// \w of Unicode's regular expressions: Alphabetic, M, Nd, Pc or Join_Control.
bool is_word_character(char32_t code_point);

enum class NormalForm { nfc, nfd, nfkc, nfkd };

/// Appends `text`, valid UTF-8, in this normal form to `out`, as the library `tokenizers` does it: by Unicode 9, which
/// is what its tables are of. Characters that came later stay where and what they are.
void normalize(NormalForm form, std::string_view text, std::string& out);

/// Whether normalize() would leave `text` as it is; may say no of a text that stays.
bool is_normalized(NormalForm form, std::string_view text);

}  // namespace artel
