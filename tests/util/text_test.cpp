#include "util/text.h"

#include <limits>

#include "support/catch.h"

using namespace artel;

TEST_CASE("concat joins texts and numbers in their shortest exact form") {
  CHECK(concat("a", 'b', std::string("c"), std::string_view("d"), 1, -2L, 3u, 0.1, 1e-5f, true) ==
        "abcd1-230.11e-05true");
  CHECK(concat(1.0) == "1");
  CHECK(concat(std::numeric_limits<int64_t>::min()) == "-9223372036854775808");
  CHECK(concat() == "");
}

TEST_CASE("join puts separators between, not around") {
  CHECK(join({}, ", ") == "");
  CHECK(join({"a"}, ", ") == "a");
  CHECK(join({"a", "b", "c"}, ", ") == "a, b, c");
}

TEST_CASE("format_count keeps three digits and never shows a thousand of a unit") {
  CHECK(format_count(0) == "0");
  CHECK(format_count(999) == "999");
  CHECK(format_count(1000) == "1.00 K");
  CHECK(format_count(1234) == "1.23 K");
  CHECK(format_count(12345) == "12.3 K");
  CHECK(format_count(999499) == "999 K");
  CHECK(format_count(999500) == "1.00 M");
  CHECK(format_count(1.23e9) == "1.23 B");
  CHECK(format_count(9.996e9) == "10.0 B");
  CHECK(format_count(4.5e12) == "4.50 T");
  CHECK(format_count(-1234) == "-1.23 K");
  CHECK(format_count(1e24) == "1000000 E");
  CHECK(format_count(std::numeric_limits<double>::infinity()) == "inf");
}

TEST_CASE("format_bytes uses binary units") {
  CHECK(format_bytes(1023) == "1023 B");
  CHECK(format_bytes(1024) == "1.00 KiB");
  CHECK(format_bytes(1536.0 * 1024 * 1024) == "1.50 GiB");
}

TEST_CASE("format_duration shows the two largest units") {
  CHECK(format_duration(0.44) == "0.4 s");
  CHECK(format_duration(9.94) == "9.9 s");
  CHECK(format_duration(9.96) == "10 s");
  CHECK(format_duration(59.4) == "59 s");
  CHECK(format_duration(59.6) == "1 m 0 s");
  CHECK(format_duration(200) == "3 m 20 s");
  CHECK(format_duration(3600 * 2 + 5 * 60 + 59) == "2 h 5 m");
  CHECK(format_duration(86400 * 3 + 3600 * 4) == "3 d 4 h");
  CHECK(format_duration(-1) == "?");
  CHECK(format_duration(std::numeric_limits<double>::quiet_NaN()) == "?");
}

TEST_CASE("format_fixed holds the largest double") {
  CHECK(format_fixed(1.005, 1) == "1.0");
  CHECK(format_fixed(std::numeric_limits<double>::max(), 2).size() == 312);
}
