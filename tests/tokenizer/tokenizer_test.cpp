#include "tokenizer/tokenizer.h"

#include "support/catch.h"
#include "support/error_text.h"
#include "support/tiktoken_file.h"
#include "tokenizer/tiktoken.h"

using namespace artel;

TEST_CASE("The bytes tokenizer maps every byte to its value and back") {
  const auto tokenizer = make_tokenizer("bytes");
  CHECK(tokenizer->num_ids() == 256);
  CHECK(tokenizer->end_of_document() == 0);
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  const std::vector<int32_t> ids = tokenizer->encode(text);
  REQUIRE(ids.size() == 256);
  for (int32_t i = 0; i < 256; ++i) CHECK(ids[static_cast<size_t>(i)] == i);
  CHECK(tokenizer->decode(ids) == text);
  CHECK(tokenizer->encode("").empty());
}

TEST_CASE("The bytes tokenizer refuses ids that are no bytes") {
  const ByteTokenizer tokenizer;
  CHECK(error_text([&] {
          tokenizer.decode({1, 256});
        }) == "[data] the bytes tokenizer required ids from 0 to 255, found 256 at position 1");
  CHECK(contains(error_text([&] { tokenizer.decode({-1}); }), "found -1 at position 0"));
}

TEST_CASE("A tokenizer that is not there is a named error") {
  CHECK(error_text([] { make_tokenizer("nowhere/tokenizer.json"); }) ==
        "[tokenizer] required 'bytes' or the path of a tokenizer.json or of a tiktoken file, found "
        "'nowhere/tokenizer.json', and no such file");
  CHECK_FALSE(is_known_tokenizer("nowhere/tokenizer.json"));
  CHECK(is_known_tokenizer("bytes"));
}

TEST_CASE("A tokenizer with gaps in its ids says which numbers no token has") {
  const auto tokenizer = read_tiktoken(tiktoken_with_gap(), "small_cl100k.tiktoken", nullptr);
  CHECK(tokenizer->num_ids() == 262);
  CHECK(tokenizer->missing_ids() == std::vector<int32_t>{256, 257, 258, 259});
  for (const int64_t id : {0, 255, 260, 261}) CHECK(tokenizer->has_id(id));
  for (const int64_t id : {int64_t{-1}, int64_t{256}, int64_t{259}, int64_t{262}, int64_t{1} << 40})
    CHECK_FALSE(tokenizer->has_id(id));
  CHECK(tokenizer->is_special(261));
  for (const int32_t id : {0, 260, 256}) CHECK_FALSE(tokenizer->is_special(id));
  CHECK(tokenizer->decode(tokenizer->encode("cab")) == "cab");
  CHECK(contains(error_text([&] { tokenizer->decode({260, 259}); }), "found 259 at position 1, which no token has"));
  CHECK(make_tokenizer("bytes")->missing_ids().empty());
}
