#include "tokenizer/bpe_trainer.h"

#include <algorithm>
#include <functional>

#include "support/catch.h"
#include "support/error_text.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/golden_lines.h"
#include "tokenizer/patterns.h"
#include "tokenizer/tokenizer_json.h"

using namespace artel;

namespace {

std::vector<std::string> texts() {
  const Json expected = golden_tokenizer_lines();
  std::vector<std::string> lines = golden_lines(expected);
  lines.resize(lines.size() - expected["num_invalid"].get<size_t>());
  lines.erase(lines.begin(), lines.end() - expected["num_random"].get<int>());
  return lines;
}

WordCounts count(const std::vector<std::string>& lines, const BpeTrainingOptions& options) {
  WordCounter counter(options);
  for (const std::string& line : lines) counter.add(line);
  return counter.counts();
}

}  // namespace

TEST_CASE("The trainer merges what the reference library's trainer merges, in its order") {
  const std::string family = GENERATE("gpt2", "o200k", "llama3");
  const Json reference = parse_json(read_file(golden_tokenizer(family)), family);
  const Json& merges = reference["model"]["merges"];
  BpeTrainingOptions options;
  options.special_tokens = {};
  options.min_frequency = 1;
  options.pattern = family;
  options.vocab_size = static_cast<int64_t>(256 + merges.size());
  const TrainedBpe bpe = train_bpe(count(texts(), options), options);
  REQUIRE(bpe.merges.size() == merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    INFO(family << ", merge " << i);
    REQUIRE(byte_characters(bpe.tokens[static_cast<size_t>(bpe.merges[i].first)]) == merges[i][0].get<std::string>());
    REQUIRE(byte_characters(bpe.tokens[static_cast<size_t>(bpe.merges[i].second)]) == merges[i][1].get<std::string>());
  }
}

TEST_CASE("What was trained can be read, counts as trained, and gives back any bytes") {
  const std::vector<std::string> lines = texts();
  for (const SplitPattern& pattern : json_patterns()) {
    BpeTrainingOptions options;
    options.pattern = pattern.name;
    options.vocab_size = 500;
    options.special_tokens = {"<|endoftext|>", "<|caf\u00e9|>"};
    const TrainedBpe bpe = train_bpe(count(lines, options), options);
    const auto tokenizer = read_tokenizer_json(tokenizer_json_of(bpe, options), "trained.json");
    CHECK(tokenizer->num_ids() == 500);
    CHECK(tokenizer->end_of_document() == 0);
    CHECK(tokenizer->find_token("<|caf\u00e9|>") == 1);
    GoldenRandom random(1);
    std::string noise;
    for (int i = 0; i < 20000; ++i) noise += static_cast<char>(random.below(256));
    CHECK(tokenizer->decode(tokenizer->encode(noise)) == noise);
    for (const std::string& line : lines) {
      if (tokenizer->decode(tokenizer->encode(line)) != line) FAIL(pattern.name << ": " << escape_text(line));
    }
  }
}

TEST_CASE("The order of the texts and how they are shared out change nothing") {
  BpeTrainingOptions options;
  options.vocab_size = 600;
  std::vector<std::string> lines = texts();
  const TrainedBpe bpe = train_bpe(count(lines, options), options);
  WordCounts sum;
  std::reverse(lines.begin(), lines.end());
  for (size_t part = 0; part < 3; ++part) {
    std::vector<std::string> some;
    for (size_t i = part; i < lines.size(); i += 3) some.push_back(lines[i]);
    for (const auto& [word, occurrences] : count(some, options)) sum[word] += occurrences;
  }
  CHECK(tokenizer_json_of(train_bpe(sum, options), options) == tokenizer_json_of(bpe, options));
}

TEST_CASE("Training ends when no pair is left that occurs often enough") {
  BpeTrainingOptions options;
  WordCounter counter(options);
  counter.add("abab abab x");
  const TrainedBpe bpe = train_bpe(counter.counts(), options);
  const std::vector<std::string> made(bpe.tokens.begin() + 257, bpe.tokens.end());
  CHECK(made == std::vector<std::string>{"ab", "abab"});
}

TEST_CASE("Options that cannot be trained with are refused by name") {
  const auto refused = [](const std::function<void(BpeTrainingOptions&)>& change) {
    BpeTrainingOptions options;
    change(options);
    return error_text([&] { check_training_options(options); });
  };
  CHECK(refused([](auto& o) { o.vocab_size = 256; }) ==
        "[tokenizer] --vocab-size required 257 (256 bytes and 1 special tokens) to 16777216, found 256");
  CHECK(contains(refused([](auto& o) { o.pattern = "llama4"; }), "--pattern required one of gpt2, llama3"));
  CHECK(contains(refused([](auto& o) { o.normalizer = "nfx"; }), "--normalizer required none, nfc or nfkc"));
  CHECK(contains(refused([](auto& o) { o.special_tokens = {"<a>", "<a>"}; }), "--special required different"));
  CHECK(contains(refused([](auto& o) { o.special_tokens = {"\u00e9"}; }), "--special required different"));
}
