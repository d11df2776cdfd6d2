#include "support/catch.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/tiktoken.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_json.h"
#include "util/files.h"
#include "util/json.h"

using namespace artel;

namespace {

Json good() {
  Json root;
  Json& model = root["model"];
  model["type"] = "BPE";
  for (int byte = 0; byte < 256; ++byte)
    model["vocab"][byte_characters(std::string(1, static_cast<char>(byte)))] = byte;
  model["vocab"]["ab"] = 256;
  model["merges"] = Json::array({"a b"});
  root["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  root["decoder"] = {{"type", "ByteLevel"}};
  root["added_tokens"] = Json::array();
  return root;
}

std::string refusal(const Json& root) {
  return error_text([&] { read_tokenizer_json(dump_json(root), "t.json"); });
}

Json split(const std::string& regex, const std::string& behavior) {
  return {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", behavior}, {"invert", false}},
            {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
}

void write(const std::string& path, const std::string& text) {
  PosixFileLayer files;
  write_file_atomic(files, path, text);
}

}  // namespace

TEST_CASE("What a tokenizer.json may not have is refused by name") {
  Json root = good();
  REQUIRE(refusal(root) == "(no error)");
  const auto with = [](const char* pointer, Json value) {
    Json changed = good();
    changed[Json::json_pointer(pointer)] = std::move(value);
    return refusal(changed);
  };
  CHECK(with("/normalizer", {{"type", "BertNormalizer"}}) ==
        "[tokenizer] t.json: normalizer.type required NFC, NFD, NFKC, NFKD or Sequence, found \"BertNormalizer\"");
  CHECK(contains(with("/normalizer", {{"type", "NFC"}, {"strip", true}}), "normalizer.strip"));
  CHECK(contains(with("/pre_tokenizer", {{"type", "Whitespace"}}), "pre_tokenizer.type"));
  CHECK(contains(with("/pre_tokenizer", nullptr), "pre_tokenizer required a ByteLevel"));
  CHECK(contains(with("/pre_tokenizer", split(R"(\w+)", "Isolated")), "found \\w+"));
  CHECK(contains(with("/pre_tokenizer", split(R"(\p{N})", "MergedWithNext")), "pre_tokenizer.behavior"));
  CHECK(contains(with("/post_processor", {{"type", "BertProcessing"}}), "post_processor.type"));
  CHECK(contains(with("/decoder", {{"type", "WordPiece"}}), "decoder.type"));
  CHECK(contains(with("/model/type", "Unigram"), "model.type required BPE"));
  CHECK(contains(with("/model/dropout", 0.1), "model.dropout"));
  CHECK(contains(with("/model/end_of_word_suffix", "</w>"), "model.end_of_word_suffix"));
  CHECK(contains(with("/model/merges", Json::array({"a c"})), "tokens of model.vocab"));
  CHECK(contains(with("/model/merges", Json::array({"abc"})), "model.merges required two tokens"));
  CHECK(contains(with("/model/vocab/ab", 7), "found id 7 twice"));
  CHECK(contains(with("/model/vocab/ab", -1), "model.vocab[ab] required an id from 0"));
  CHECK(contains(with("/truncation", {{"max_length", 512}}), "file.truncation"));
  CHECK(contains(with("/added_tokens", Json::array({{{"id", 300}, {"content", "<s>"}}})), "required id 257"));
  root["model"]["vocab"].erase("b");
  root["model"]["vocab"]["ab"] = 98;
  root["model"]["merges"] = Json::array();
  CHECK(refusal(root) == "(no error)");
  root["model"]["byte_fallback"] = true;
  CHECK(contains(refusal(root), "model.byte_fallback"));
  CHECK(contains(error_text([] { read_tokenizer_json("{\"model\": ", "t.json"); }), "t.json"));
}

TEST_CASE("Ids outside the vocabulary are refused with their place") {
  const auto tokenizer = read_tokenizer_json(dump_json(good()), "t.json");
  CHECK(tokenizer->encode("abb") == std::vector<int32_t>{256, 98});
  CHECK(error_text([&] {
          tokenizer->decode({256, 257});
        }) == "[tokenizer] required ids of t.json (below 257), found 257 at position 1, which no token has");
  CHECK_FALSE(tokenizer->has_end_of_document());
  CHECK(contains(error_text([&] { tokenizer->end_of_document(); }), "required an end-of-document token"));
}

TEST_CASE("The end-of-document token is a known one, else that of tokenizer_config.json") {
  const TemporaryDirectory directory;
  Json root = good();
  root["added_tokens"] = Json::array({{{"id", 257}, {"content", "<fin>"}, {"special", true}},
                                      {{"id", 258}, {"content", "<|end_of_text|>"}, {"special", true}}});
  write(directory.file("tokenizer.json"), dump_json(root));
  CHECK(make_tokenizer(directory.path())->end_of_document() == 258);
  root["added_tokens"].erase(1);
  write(directory.file("tokenizer.json"), dump_json(root));
  CHECK_FALSE(make_tokenizer(directory.path())->has_end_of_document());
  write(directory.file("tokenizer_config.json"), R"({"eos_token": {"content": "<fin>"}})");
  const auto tokenizer = make_tokenizer(directory.path());
  CHECK(tokenizer->end_of_document() == 257);
  CHECK(tokenizer->find_token("<fin>") == 257);
  CHECK(tokenizer->find_token("ab") == 256);
  CHECK_FALSE(tokenizer->find_token("<none>").has_value());
  CHECK(tokenizer->encode("a<fin>b") == std::vector<int32_t>{97, 257, 98});
}

TEST_CASE("Damaged tiktoken files are refused with the line, and need a pattern") {
  const auto refused = [](const std::string& text, const std::string& path = "x_cl100k.tiktoken") {
    return error_text([&] { read_tiktoken(text, path, nullptr); });
  };
  CHECK(
      refused("YQ== 0\nYg=\n") ==
      "[tokenizer] x_cl100k.tiktoken:2: required a token in base64, a space and a rank from 0 to 16777215, found Yg=");
  CHECK(contains(refused("YQ== 0\nYg== 0\n"), ":2: required each rank once"));
  CHECK(contains(refused("YQ== 0\nYQ== 1\n"), ":2: required each token once"));
  CHECK(contains(refused("Y!== 0\n"), ":1: required a token in base64"));
  CHECK(contains(refused("YQ== 0\n"), "required a rank for each of the 256 bytes, found none for byte 0"));
  CHECK(contains(refused("YQ== 0\n", "x.model"), "say for example llama3:x.model"));
}
