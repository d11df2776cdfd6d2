#include "util/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace artel {
namespace {

unsigned byte_at(std::string_view text, size_t i) {
  return static_cast<unsigned char>(text[i]);
}

// Bytes of the character that begins with `lead`; 0: none does.
size_t length_of(unsigned lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
}

// Whether `second` may follow `lead`: what would be overlong, a surrogate or too large shows there.
bool second_fits(unsigned lead, unsigned second) {
  if ((second & 0xC0U) != 0x80U) return false;
  if (lead == 0xE0) return second >= 0xA0;
  if (lead == 0xED) return second < 0xA0;
  if (lead == 0xF0) return second >= 0x90;
  if (lead == 0xF4) return second < 0x90;
  return true;
}

// U+0000 to U+001F, U+007F and U+0080 to U+009F.
bool is_control(std::string_view character) {
  const unsigned lead = byte_at(character, 0);
  return lead < 0x20 || lead == 0x7F || (lead == 0xC2 && byte_at(character, 1) < 0xA0);
}

void append_hex(std::string& out, std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (size_t i = 0; i < bytes.size(); ++i) {
    out += "\\x";
    out += digits[byte_at(bytes, i) >> 4];
    out += digits[byte_at(bytes, i) & 15U];
  }
}

}  // namespace

Utf8Start utf8_start(std::string_view text) {
  const unsigned lead = byte_at(text, 0);
  const size_t length = length_of(lead);
  if (length == 0) return {Utf8Start::Kind::invalid, 1};
  const size_t available = std::min(length, text.size());
  if (available > 1 && !second_fits(lead, byte_at(text, 1))) return {Utf8Start::Kind::invalid, 1};
  for (size_t i = 2; i < available; ++i) {
    if ((byte_at(text, i) & 0xC0U) != 0x80U) return {Utf8Start::Kind::invalid, 1};
  }
  return {available < length ? Utf8Start::Kind::incomplete : Utf8Start::Kind::valid, available};
}

size_t utf8_invalid_bytes(std::string_view text) {
  const unsigned lead = byte_at(text, 0);
  const size_t length = length_of(lead);
  if (length < 2 || text.size() < 2 || !second_fits(lead, byte_at(text, 1))) return 1;
  size_t size = 2;
  while (size < length && size < text.size() && (byte_at(text, size) & 0xC0U) == 0x80U) ++size;
  return size;
}

size_t utf8_valid_bytes(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if (text.size() - i >= 8) {  // eight ASCII bytes at a time
      uint64_t bytes = 0;
      std::memcpy(&bytes, text.data() + i, 8);
      if ((bytes & 0x8080808080808080U) == 0) {
        i += 8;
        continue;
      }
    }
    if (byte_at(text, i) < 0x80) {
      ++i;
      continue;
    }
    const Utf8Start start = utf8_start(text.substr(i));
    if (start.kind != Utf8Start::Kind::valid) break;
    i += start.num_bytes;
  }
  return i;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t valid = utf8_valid_bytes(text);
    out += text.substr(0, valid);
    text.remove_prefix(valid);
    if (text.empty()) break;
    out += "\xEF\xBF\xBD";
    text.remove_prefix(utf8_invalid_bytes(text));
  }
  return out;
}

char32_t next_character(std::string_view text, size_t& position) {
  const unsigned lead = byte_at(text, position);
  const size_t length = length_of(lead);
  auto code_point = static_cast<char32_t>(length == 1 ? lead : lead & (0x7FU >> length));
  for (size_t i = 1; i < length; ++i) code_point = (code_point << 6) | (byte_at(text, position + i) & 0x3FU);
  position += length;
  return code_point;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&out](char32_t byte) { out += static_cast<char>(byte); };
  if (code_point < 0x80) return put(code_point);
  if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
  } else {
    if (code_point < 0x10000) {
      put(0xE0 | (code_point >> 12));
    } else {
      put(0xF0 | (code_point >> 18));
      put(0x80 | ((code_point >> 12) & 0x3F));
    }
    put(0x80 | ((code_point >> 6) & 0x3F));
  }
  put(0x80 | (code_point & 0x3F));
}

std::string escape_text(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const Utf8Start start = utf8_start(text.substr(i));
    const std::string_view character = text.substr(i, start.num_bytes);
    i += start.num_bytes;
    if (character == "\\") {
      out += "\\\\";
    } else if (character == "\n") {
      out += "\\n";
    } else if (character == "\r") {
      out += "\\r";
    } else if (character == "\t") {
      out += "\\t";
    } else if (start.kind != Utf8Start::Kind::valid || is_control(character)) {
      append_hex(out, character);
    } else {
      out += character;
    }
  }
  return out;
}

std::string TerminalText::add(std::string_view piece) {
  pending_ += piece;
  std::string out;
  size_t done = 0;
  while (done < pending_.size()) {
    const std::string_view rest = std::string_view(pending_).substr(done);
    const Utf8Start start = utf8_start(rest);
    if (start.kind == Utf8Start::Kind::incomplete) break;
    const std::string_view character = rest.substr(0, start.num_bytes);
    const bool kept = character == "\n" || character == "\t";
    if (start.kind == Utf8Start::Kind::invalid || (is_control(character) && !kept)) {
      append_hex(out, character);
    } else {
      out += character;
    }
    done += start.num_bytes;
  }
  pending_.erase(0, done);
  return out;
}

std::string TerminalText::finish() {
  std::string out;
  append_hex(out, pending_);
  pending_.clear();
  return out;
}

}  // namespace artel
