#include "tokenizer/byte_level.h"

#include <array>
#include <cstdint>

#include "util/utf8.h"

namespace artel {
namespace {

constexpr char32_t num_characters = 0x144;  // one behind the last character that stands for a byte

struct Tables {
  std::array<char32_t, 256> code_points{};
  std::array<int16_t, num_characters> bytes{};
};

constexpr Tables make_tables() {
  Tables tables;
  for (auto& byte : tables.bytes) byte = -1;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
    const char32_t code_point = printable ? byte : next++;
    tables.code_points[byte] = code_point;
    tables.bytes[code_point] = static_cast<int16_t>(byte);
  }
  return tables;
}

constexpr Tables tables = make_tables();

}  // namespace

char32_t byte_code_point(unsigned char byte) {
  return tables.code_points[byte];
}

std::string byte_characters(std::string_view bytes) {
  std::string characters;
  characters.reserve(bytes.size() + bytes.size() / 4);
  for (const char byte : bytes) append_utf8(characters, byte_code_point(static_cast<unsigned char>(byte)));
  return characters;
}

std::optional<std::string> bytes_of_characters(std::string_view characters) {
  std::string bytes;
  bytes.reserve(characters.size());
  for (size_t i = 0; i < characters.size();) {
    const char32_t code_point = next_character(characters, i);
    if (code_point >= num_characters || tables.bytes[code_point] < 0) return std::nullopt;
    bytes += static_cast<char>(tables.bytes[code_point]);
  }
  return bytes;
}

}  // namespace artel
