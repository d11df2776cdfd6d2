#include "util/json.h"

#include <limits>

#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

TEST_CASE("JSON keeps the order of keys and reads back what it wrote") {
  const Json json = parse_json(R"({"z": 1, "a": [1.5, true, null], "m": "x"})", "test");
  CHECK(dump_json(json) == R"({"z":1,"a":[1.5,true,null],"m":"x"})");
  CHECK(parse_json(dump_json(json, 2), "test") == json);
}

TEST_CASE("A JSON error names where, line and column") {
  CHECK(contains(error_text([] { parse_json("{\"a\": 1,\n \"b\" 2}", "manifest.json"); }),
                 "[manifest.json] required JSON, found an error at line 2, column 6: "));
  CHECK(contains(error_text([] { parse_json("", "m"); }), "line 1, column 1"));
  CHECK(contains(error_text([] { parse_json("{\"a\": 1", "m"); }), "line 1, column 8"));
  CHECK(contains(error_text([] { parse_json("{} x", "m"); }), "line 1, column 4"));
  CHECK(contains(error_text([] { parse_json("{\"a\": 1e999}", "m"); }), "[m] required JSON"));
  CHECK_FALSE(contains(error_text([] { parse_json("{,}", "m"); }), "json.exception"));
  CHECK_FALSE(contains(error_text([] { parse_json("{,}", "m"); }), "\n"));
}

TEST_CASE("JSON that is nested without end is refused before anything walks down into it") {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(parse_json(nested(100), "m").size() == 1);
  CHECK(error_text([&] { parse_json(nested(101), "m"); }) ==
        "[m] required JSON of at most 100 levels, found more at byte 100");
  CHECK(contains(error_text([] { parse_json(std::string(1000000, '{'), "m"); }), "at most 100 levels"));
  CHECK(parse_json("[\"" + std::string(200, '[') + "\\\"[\", 1]", "m").size() == 2);
}

TEST_CASE("JSON can always be written, whatever the text and the numbers") {
  const Json json = {{"text", "a\xff"}, {"nan", std::numeric_limits<double>::quiet_NaN()}};
  CHECK(dump_json(json) == "{\"text\":\"a\xef\xbf\xbd\",\"nan\":null}");
}

TEST_CASE("A JSON member of the wrong kind is an error that says what was required and found") {
  const Json json = parse_json(
      R"({"i": 3, "big": 4294967296, "huge": 18446744073709551615, "minus": -1, "f": 1.5, "s": "x", "b": true})", "t");
  CHECK(json_value<int32_t>(json, "i", "t") == 3);
  CHECK(json_value<double>(json, "i", "t") == 3.0);
  CHECK(json_value<int64_t>(json, "big", "t") == 4294967296);
  CHECK(json_value<uint64_t>(json, "huge", "t") == 18446744073709551615u);
  CHECK(json_value<int32_t>(json, "minus", "t") == -1);
  CHECK(json_value<std::string>(json, "s", "t") == "x");
  CHECK(json_value<bool>(json, "b", "t"));
  CHECK(error_text([&] { json_value<int32_t>(json, "big", "m"); }) ==
        "[m] member \"big\" required an integer from -2147483648 to 2147483647, found 4294967296");
  CHECK(contains(error_text([&] { json_value<int64_t>(json, "huge", "m"); }), "found 18446744073709551615"));
  CHECK(contains(error_text([&] { json_value<uint64_t>(json, "minus", "m"); }), "found -1"));
  CHECK(contains(error_text([&] { json_value<uint32_t>(json, "minus", "m"); }), "found -1"));
  CHECK(contains(error_text([&] { json_value<int64_t>(json, "f", "m"); }), "found 1.5"));
  CHECK(contains(error_text([&] { json_value<double>(json, "s", "m"); }), "required a number, found \"x\""));
  CHECK(contains(error_text([&] { json_value<bool>(json, "i", "m"); }), "required true or false, found 3"));
  CHECK(contains(error_text([&] { json_value<std::string>(json, "i", "m"); }), "required a string, found 3"));
  CHECK(error_text([&] { json_value<int32_t>(json, "none", "m"); }) == "[m] required member \"none\", found none");
  CHECK(contains(error_text([&] { json_member(json["i"], "x", "m"); }), "found number"));
}
