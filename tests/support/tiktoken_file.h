#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace artel {

/// A token in base64 and its rank, as a line of a tiktoken file.
inline std::string tiktoken_line(std::string_view token, int rank) {
  static constexpr char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string line;
  for (std::size_t i = 0; i < token.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = i; j < i + 3; ++j) {
      bits = bits << 8 | (j < token.size() ? static_cast<unsigned char>(token[j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) line += i + j <= token.size() ? letters[bits >> (18 - 6 * j) & 63U] : '=';
  }
  return line + ' ' + std::to_string(rank) + '\n';
}

/// A tokenizer with gaps in its ids, as cl100k and o200k have them: a token for every byte from 0, none for 256 to 259,
/// "ab" 260; the end of a document becomes 261.
inline std::string tiktoken_with_gap() {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += tiktoken_line(std::string(1, static_cast<char>(byte)), byte);
  return text + tiktoken_line("ab", 260);
}

}  // namespace artel
