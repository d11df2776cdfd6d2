#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace artel {

// Byte-level vocabularies write each byte as one printable character: 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF as the code
// point of the same number, the others, in their order, as U+0100 and on (GPT-2's bytes_to_unicode).

/// The code point that stands for `byte`.
char32_t byte_code_point(unsigned char byte);

/// The characters that stand for `bytes`, as UTF-8.
std::string byte_characters(std::string_view bytes);

/// The bytes that `characters` (UTF-8) stand for; none when one of them stands for no byte.
std::optional<std::string> bytes_of_characters(std::string_view characters);

}  // namespace artel
