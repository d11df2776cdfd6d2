#include "util/utf8.h"

#include "support/catch.h"

using namespace artel;

namespace {

using Kind = Utf8Start::Kind;

bool is(std::string_view text, Kind kind, size_t num_bytes) {
  const Utf8Start start = utf8_start(text);
  return start.kind == kind && start.num_bytes == num_bytes;
}

}  // namespace

TEST_CASE("A text begins with a character, with the beginning of one, or with a byte that is none") {
  CHECK(is("a\xff", Kind::valid, 1));
  CHECK(is("\xc3\xa9x", Kind::valid, 2));
  CHECK(is("\xe2\x82\xac", Kind::valid, 3));
  CHECK(is("\xf0\x9f\x98\x80", Kind::valid, 4));
  CHECK(is("\xf4\x8f\xbf\xbf", Kind::valid, 4));  // U+10FFFF
  CHECK(is("\xed\x9f\xbf", Kind::valid, 3));      // U+D7FF, the last before the surrogates
  CHECK(is("\xe2\x82", Kind::incomplete, 2));
  CHECK(is("\xf0", Kind::incomplete, 1));
  CHECK(is("\x80", Kind::invalid, 1));
  CHECK(is("\xc0\x80", Kind::invalid, 1));          // overlong
  CHECK(is("\xc1\xbf", Kind::invalid, 1));          // overlong
  CHECK(is("\xe0\x9f\xbf", Kind::invalid, 1));      // overlong
  CHECK(is("\xf0\x8f\xbf\xbf", Kind::invalid, 1));  // overlong
  CHECK(is("\xed\xa0\x80", Kind::invalid, 1));      // surrogate
  CHECK(is("\xf4\x90\x80\x80", Kind::invalid, 1));  // beyond U+10FFFF
  CHECK(is("\xf5\x80", Kind::invalid, 1));
  CHECK(is("\xe2\x28\xa1", Kind::invalid, 1));
  CHECK(is("\xe2\x82\x28", Kind::invalid, 1));
}

TEST_CASE("Escaped text is one printable line that names every other byte") {
  CHECK(escape_text("plain \"text\" \xc3\xa9") == "plain \"text\" \xc3\xa9");
  CHECK(escape_text("a\nb\r\tc\\d") == "a\\nb\\r\\tc\\\\d");
  CHECK(escape_text(std::string_view("\0\x1b[31m\x7f", 7)) == "\\x00\\x1b[31m\\x7f");
  CHECK(escape_text("\xff\xe2\x82") == "\\xff\\xe2\\x82");
  CHECK(escape_text("\xc2\x9b"
                    "1m") == "\\xc2\\x9b1m");  // the one-character form of ESC [
  CHECK(escape_text("").empty());
}

TEST_CASE("Text for a terminal waits for the rest of a character and keeps line ends") {
  TerminalText text;
  CHECK(text.add("a\n\t\xe2") == "a\n\t");
  CHECK(text.add("\x82").empty());
  CHECK(text.add("\xac") == "\xe2\x82\xac");
  CHECK(text.add("\x1b[0m\xff") == "\\x1b[0m\\xff");
  CHECK(text.add("\xf0\x9f").empty());
  CHECK(text.add("x") == "\\xf0\\x9fx");
  CHECK(text.add("\xc3").empty());
  CHECK(text.finish() == "\\xc3");
  CHECK(text.finish().empty());
}

TEST_CASE("What is no UTF-8 is replaced as Python replaces it, one U+FFFD for each beginning of a character") {
  // bytes.decode(errors="replace")
  CHECK(replace_invalid_utf8("a\x80z") == "a\uFFFDz");
  CHECK(replace_invalid_utf8("\xe2\x82") == "\uFFFD");
  CHECK(replace_invalid_utf8("\xe2\x82z") == "\uFFFDz");
  CHECK(replace_invalid_utf8("\xf0\x9f\x98\xc3\xa9") == "\uFFFD\u00e9");
  CHECK(replace_invalid_utf8("\xed\xa0\x80") == "\uFFFD\uFFFD\uFFFD");  // a surrogate
  CHECK(replace_invalid_utf8("\xf4\x90\x80") == "\uFFFD\uFFFD\uFFFD");
  CHECK(replace_invalid_utf8("\xc3\xc3\xa9\xff") == "\uFFFD\u00e9\uFFFD");
  CHECK(replace_invalid_utf8("\u4e2d\U0001f600") == "\u4e2d\U0001f600");
  CHECK(utf8_valid_bytes("12345678\u00e9345678\xff") == 16);
  CHECK(utf8_valid_bytes("1234567\xe2\x82") == 7);
}

TEST_CASE("Code points and their UTF-8 are each other's inverse") {
  for (const char32_t code_point : {0x0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF}) {
    std::string text = "x";
    append_utf8(text, code_point);
    CHECK(utf8_valid_bytes(text) == text.size());
    size_t position = 1;
    CHECK(next_character(text, position) == code_point);
    CHECK(position == text.size());
  }
}
