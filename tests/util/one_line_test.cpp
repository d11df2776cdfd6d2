#include "util/one_line.h"

#include "support/catch.h"

using namespace artel;

TEST_CASE("one_line has no control characters and is cut between characters") {
  CHECK(one_line("a\nb\tc\x7f") == "a b c ");
  CHECK(one_line("abc", 3) == "abc");
  CHECK(one_line("abcd", 3) == "abc…");
  CHECK(one_line("aé", 2) == "a…");
  CHECK(one_line("aéb", 3) == "aé…");
  CHECK(one_line("\x80\x80", 1) == "…");
  CHECK(one_line("", 0).empty());
}
