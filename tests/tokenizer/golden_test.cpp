#include <algorithm>

#include "support/catch.h"
#include "support/error_text.h"
#include "tokenizer/golden_lines.h"
#include "tokenizer/tokenizer.h"
#include "util/text.h"

using namespace artel;

namespace {

const char* const families[] = {"gpt2",
                                "llama3",
                                "neox",
                                "qwen2",
                                "o200k",
                                "nfkc",
                                "digits",
                                "r50k:ranks.tiktoken",
                                "cl100k:ranks.tiktoken",
                                "o200k:ranks.tiktoken"};

const Json& expected() {
  static const Json json = golden_tokenizer_lines();
  return json;
}

const std::vector<std::string>& all_lines() {
  static const std::vector<std::string> lines = golden_lines(expected());
  return lines;
}

bool keeps_bytes(const std::string& family) {
  return family != "neox" && family != "qwen2" && family != "nfkc";
}

}  // namespace

TEST_CASE(
    "Ids equal those of the reference libraries on every block of Unicode, long runs, mixtures and invalid bytes") {
  const std::string family = GENERATE(from_range(std::begin(families), std::end(families)));
  const auto tokenizer = make_tokenizer(golden_tokenizer(family));
  const std::string hashes = expected()["hashes"][family].get<std::string>();
  const std::vector<std::string>& lines = all_lines();
  REQUIRE(hashes.size() == 6 * lines.size());
  const auto encoder = tokenizer->make_encoder();
  int num_different = 0;
  std::string first;
  for (size_t i = 0; i < lines.size(); ++i) {
    std::vector<int32_t> ids;
    encoder->encode(lines[i], ids);
    if (golden_hash(ids) == hashes.substr(6 * i, 6)) continue;
    if (num_different++ == 0) first = concat("line ", i, ": ", escape_text(lines[i].substr(0, 400)));
  }
  INFO(family << ": first different " << first);
  CHECK(num_different == 0);
}

TEST_CASE("Decoding gives back every byte, whatever the text, where there is no normalisation") {
  const std::string family = GENERATE(from_range(std::begin(families), std::end(families)));
  if (!keeps_bytes(family)) return;
  const auto tokenizer = make_tokenizer(golden_tokenizer(family));
  const auto encoder = tokenizer->make_encoder();
  std::vector<std::string> texts = all_lines();
  GoldenRandom random(7);
  for (int i = 0; i < 200; ++i) {
    std::string noise;
    for (uint64_t size = random.below(300); size > 0; --size) noise += static_cast<char>(random.below(256));
    texts.push_back(std::move(noise));
  }
  for (const std::string& text : texts) {
    std::vector<int32_t> ids;
    encoder->encode(text, ids);
    if (tokenizer->decode(ids) != text) FAIL(family << ": " << escape_text(text));
  }
}

TEST_CASE("Text cut at a safe place has the ids of its parts, and those of the uncut text") {
  const std::string family = GENERATE(from_range(std::begin(families), std::end(families)));
  const auto tokenizer = make_tokenizer(golden_tokenizer(family));
  std::string text;
  for (size_t i = keeps_bytes(family) ? 0 : all_lines().size() - 2000; i < all_lines().size(); ++i) {
    if (all_lines()[i].size() < 2000) text += all_lines()[i];  // without the long runs
  }
  const auto encoder = tokenizer->make_encoder();
  std::vector<int32_t> whole, parts;
  encoder->encode(text, whole);
  size_t num_cuts = 0;
  GoldenRandom random(3);
  size_t size = 100;
  for (std::string_view rest = text; !rest.empty();) {
    // What stands behind the part that is looked at must not matter.
    const size_t cut = size >= rest.size() ? rest.size() : tokenizer->safe_cut(rest.substr(0, size));
    if (cut == 0) {
      size *= 2;
      continue;
    }
    num_cuts += cut < rest.size() ? 1 : 0;
    encoder->encode(rest.substr(0, cut), parts);
    rest.remove_prefix(cut);
    size = 20 + random.below(400);
  }
  const bool never = family == "qwen2" || family == "nfkc";  // a token that takes white space along behind it
  INFO(family << ": " << num_cuts << " cuts");
  CHECK((num_cuts > 100) == !never);
  CHECK(parts == whole);
}
