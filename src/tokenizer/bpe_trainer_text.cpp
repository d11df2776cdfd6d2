#include <algorithm>

#include "tokenizer/bpe_encoder.h"
#include "tokenizer/bpe_trainer.h"
#include "tokenizer/byte_level.h"
#include "util/error.h"
#include "util/json.h"
#include "util/text.h"
#include "util/utf8.h"

// What surrounds the training proper: from text to words, and from the outcome to a file.

namespace artel {
namespace {

std::string quoted(const std::string& text) {
  return dump_json(Json(text));
}

std::vector<NormalForm> normal_forms(const std::string& normalizer) {
  if (normalizer == "nfc") return {NormalForm::nfc};
  if (normalizer == "nfkc") return {NormalForm::nfkc};
  return {};
}

BpeTokenizer splitting_tokenizer(const BpeTrainingOptions& options) {
  BpeTokenizerParts parts;
  parts.normal_forms = normal_forms(options.normalizer);
  for (const std::string& content : options.special_tokens) {
    AddedToken token;
    token.content = content;
    parts.added_tokens.push_back(std::move(token));
  }
  parts.steps.push_back({false, std::make_shared<SplitRegex>(*find_json_pattern(options.pattern))});
  parts.bpe.byte_ids.fill(-1);
  return BpeTokenizer(std::move(parts));
}

std::string added_token_json(size_t id, const std::string& content) {
  return concat("{\"id\":", id, ",\"content\":", quoted(content),
                ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}");
}

std::string pre_tokenizer_json(const std::string& pattern) {
  const auto byte_level = [](bool use_regex) {
    return concat("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":", use_regex,
                  '}');
  };
  const SplitPattern& split = *find_json_pattern(pattern);
  if (std::string_view(split.pattern) == gpt2_pattern().pattern) return byte_level(true);
  return concat("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":",
                quoted(split.pattern), "},\"behavior\":\"Isolated\",\"invert\":false},", byte_level(false), "]}");
}

}  // namespace

struct WordCounter::Splitter {
  explicit Splitter(const BpeTrainingOptions& options) : tokenizer(splitting_tokenizer(options)), encoder(tokenizer) {}

  BpeTokenizer tokenizer;
  BpeEncoder encoder;
};

WordCounter::WordCounter(const BpeTrainingOptions& options) {
  check_training_options(options);
  splitter_ = std::make_unique<Splitter>(options);
}
WordCounter::~WordCounter() = default;

void WordCounter::add(std::string_view text) {
  splitter_->encoder.for_each_piece(text, [this](std::string_view piece) {
    const auto found = counts_.find(piece);
    if (found != counts_.end()) {
      ++found->second;
    } else {
      counts_.emplace(piece, 1);
    }
  });
}

size_t WordCounter::safe_cut(std::string_view text) const {
  return splitter_->tokenizer.safe_cut(text);
}

void check_training_options(const BpeTrainingOptions& options) {
  constexpr int64_t max_vocab_size = 1 << 24;
  const auto smallest = static_cast<int64_t>(256 + options.special_tokens.size());
  if (options.vocab_size < smallest || options.vocab_size > max_vocab_size) {
    fail("tokenizer", concat("--vocab-size required ", smallest, " (256 bytes and ", options.special_tokens.size(),
                             " special tokens) to ", max_vocab_size, ", found ", options.vocab_size));
  }
  if (find_json_pattern(options.pattern) == nullptr) {
    fail("tokenizer",
         concat("--pattern required one of ", pattern_names(json_patterns()), ", found ", options.pattern));
  }
  if (options.normalizer != "none" && normal_forms(options.normalizer).empty()) {
    fail("tokenizer", concat("--normalizer required none, nfc or nfkc, found ", options.normalizer));
  }
  std::vector<std::string> specials = options.special_tokens;
  std::sort(specials.begin(), specials.end());
  const bool twice = std::adjacent_find(specials.begin(), specials.end()) != specials.end();
  const bool too_short = std::any_of(specials.begin(), specials.end(), [](const std::string& token) {
    if (token.size() < 2 || utf8_valid_bytes(token) != token.size()) return true;
    const std::optional<std::string> bytes = bytes_of_characters(token);
    return bytes && bytes->size() < 2;  // written as a byte is
  });
  if (twice || too_short) {
    fail("tokenizer", concat("--special required different tokens of UTF-8, each of two characters at least, found ",
                             escape_text(join(options.special_tokens, " "))));
  }
}

std::string tokenizer_json_of(const TrainedBpe& bpe, const BpeTrainingOptions& options) {
  const size_t num_special = options.special_tokens.size();
  std::string out = "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[";
  for (size_t i = 0; i < num_special; ++i) {
    out += concat(i > 0 ? "," : "", "\n", added_token_json(i, options.special_tokens[i]));
  }
  const std::vector<NormalForm> forms = normal_forms(options.normalizer);
  const std::string normalizer = forms.empty()                 ? "null"
                                 : forms[0] == NormalForm::nfc ? "{\"type\":\"NFC\"}"
                                                               : "{\"type\":\"NFKC\"}";
  out += concat("],\n\"normalizer\":", normalizer, ",\n\"pre_tokenizer\":", pre_tokenizer_json(options.pattern),
                ",\n\"post_processor\":null,\n\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                "\"trim_offsets\":true,\"use_regex\":true},\n\"model\":{\"type\":\"BPE\",\"dropout\":null,"
                "\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
                "\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":{");
  const auto written = [&](size_t id) { return id < num_special ? bpe.tokens[id] : byte_characters(bpe.tokens[id]); };
  for (size_t id = 0; id < bpe.tokens.size(); ++id) {
    out += concat(id > 0 ? "," : "", "\n", quoted(written(id)), ":", id);
  }
  out += "},\"merges\":[";
  for (size_t i = 0; i < bpe.merges.size(); ++i) {
    const auto [left, right] = bpe.merges[i];
    out += concat(i > 0 ? "," : "", "\n",
                  quoted(written(static_cast<size_t>(left)) + " " + written(static_cast<size_t>(right))));
  }
  return out + "]}}\n";
}

}  // namespace artel
