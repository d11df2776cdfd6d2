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
