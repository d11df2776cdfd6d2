#include "tokenizer/tiktoken.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "tokenizer/bpe_tokenizer.h"
#include "util/error.h"
#include "util/one_line.h"
#include "util/text.h"

namespace artel {
namespace {

// Which tokens the published encodings have besides their ranks.
struct SpecialToken {
  const char* pattern;
  const char* content;
  int32_t num_ranks;  // of the published file
  int32_t id;
};
constexpr SpecialToken special_tokens[] = {
    {"gpt2", "<|endoftext|>", 50256, 50256},       {"r50k", "<|endoftext|>", 50256, 50256},
    {"p50k", "<|endoftext|>", 50280, 50256},       {"cl100k", "<|endoftext|>", 100256, 100257},
    {"cl100k", "<|fim_prefix|>", 100256, 100258},  {"cl100k", "<|fim_middle|>", 100256, 100259},
    {"cl100k", "<|fim_suffix|>", 100256, 100260},  {"cl100k", "<|endofprompt|>", 100256, 100276},
    {"o200k", "<|endoftext|>", 199998, 199999},    {"o200k", "<|endofprompt|>", 199998, 200018},
    {"llama3", "<|end_of_text|>", 128000, 128001}, {"llama3", "<|begin_of_text|>", 128000, 128000},
};

int base64_value(char letter) {
  if (letter >= 'A' && letter <= 'Z') return letter - 'A';
  if (letter >= 'a' && letter <= 'z') return letter - 'a' + 26;
  if (letter >= '0' && letter <= '9') return letter - '0' + 52;
  return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

std::optional<std::string> base64_bytes(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  size_t letters = text.size();
  while (letters + 2 > text.size() && text[letters - 1] == '=') --letters;
  std::string bytes;
  uint32_t bits = 0;
  int num_bits = 0;
  for (size_t i = 0; i < letters; ++i) {
    const int value = base64_value(text[i]);
    if (value < 0) return std::nullopt;
    bits = (bits << 6) | static_cast<uint32_t>(value);
    num_bits += 6;
    if (num_bits < 8) continue;
    num_bits -= 8;
    bytes += static_cast<char>((bits >> num_bits) & 0xFFU);
  }
  return bytes;
}

class TiktokenReader {
 public:
  explicit TiktokenReader(const std::string& path) : path_(path) {}

  std::unique_ptr<Tokenizer> read(std::string_view bytes, const SplitPattern& pattern);

 private:
  [[noreturn]] void fail_line(int64_t line, const std::string& text) const {
    fail("tokenizer", concat(path_, ":", line, ": ", text));
  }
  void read_line(std::string_view line, int64_t number);
  void make_merges();
  void add_special_tokens(const SplitPattern& pattern);

  const std::string& path_;
  BpeTokenizerParts parts_;
  int32_t num_ranks_ = 0;
};

void TiktokenReader::read_line(std::string_view line, int64_t number) {
  constexpr int32_t max_rank = (1 << 24) - 1;
  const size_t space = line.find(' ');
  int32_t rank = -1;
  bool good = space != std::string_view::npos;
  if (good) {
    const auto result = std::from_chars(line.data() + space + 1, line.data() + line.size(), rank);
    good = result.ec == std::errc() && result.ptr == line.data() + line.size() && rank >= 0 && rank <= max_rank;
  }
  std::optional<std::string> token = good ? base64_bytes(line.substr(0, space)) : std::nullopt;
  if (!token) {
    fail_line(number, concat("required a token in base64, a space and a rank from 0 to ", max_rank, ", found ",
                             one_line(line, 60)));
  }
  const auto index = static_cast<size_t>(rank);
  if (index >= parts_.tokens.size()) parts_.tokens.resize(index + 1);
  if (parts_.tokens[index]) fail_line(number, concat("required each rank once, found ", rank, " again"));
  if (!parts_.bpe.ids.emplace(*token, rank).second) fail_line(number, "required each token once, found one again");
  parts_.tokens[index] = std::move(*token);
  ++num_ranks_;
}

// tiktoken merges two neighbours when what they are together has a rank, and the lowest rank first: in pairs, those are
// all the ways to cut a token into two.
void TiktokenReader::make_merges() {
  BpeParts& bpe = parts_.bpe;
  for (size_t rank = 0; rank < parts_.tokens.size(); ++rank) {
    if (!parts_.tokens[rank]) continue;
    const std::string_view token = *parts_.tokens[rank];
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = bpe.ids.find(token.substr(0, cut));
      if (left == bpe.ids.end()) continue;
      const auto right = bpe.ids.find(token.substr(cut));
      if (right == bpe.ids.end()) continue;
      bpe.merges.emplace_back(left->second, right->second);
      bpe.merged_ids.push_back(static_cast<int32_t>(rank));
    }
  }
}

void TiktokenReader::add_special_tokens(const SplitPattern& pattern) {
  const auto add = [this](std::string content, int32_t id) {
    const auto index = static_cast<size_t>(id);
    if (index >= parts_.tokens.size()) parts_.tokens.resize(index + 1);
    if (!parts_.end_of_document) parts_.end_of_document = id;
    parts_.special_ids.push_back(id);
    parts_.tokens[index] = std::move(content);
  };
  for (const SpecialToken& token : special_tokens) {
    if (std::string_view(pattern.name) == token.pattern && num_ranks_ == token.num_ranks) add(token.content, token.id);
  }
  if (!parts_.end_of_document) add("<|endoftext|>", static_cast<int32_t>(parts_.tokens.size()));
}

std::unique_ptr<Tokenizer> TiktokenReader::read(std::string_view bytes, const SplitPattern& pattern) {
  parts_.path = path_;
  parts_.bpe.whole_pieces_first = true;
  int64_t number = 0;
  while (!bytes.empty()) {
    const size_t end = std::min(bytes.find('\n'), bytes.size());
    std::string_view line = bytes.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    ++number;
    if (!line.empty()) read_line(line, number);
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    const auto found = parts_.bpe.ids.find(std::string(1, static_cast<char>(byte)));
    if (found == parts_.bpe.ids.end()) {
      fail("tokenizer", concat(path_, ": required a rank for each of the 256 bytes, found none for byte ", byte));
    }
    parts_.bpe.byte_ids[byte] = found->second;
  }
  make_merges();
  add_special_tokens(pattern);
  parts_.steps.push_back({false, std::make_shared<SplitRegex>(pattern)});
  return std::make_unique<BpeTokenizer>(std::move(parts_));
}

const SplitPattern* pattern_of_name(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename().string();
  for (const char* known : {"r50k", "p50k", "cl100k", "o200k", "gpt2", "llama3", "qwen2"}) {
    if (name.find(known) != std::string::npos) return find_pattern(known);
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<Tokenizer> read_tiktoken(std::string_view bytes, const std::string& path, const SplitPattern* pattern) {
  if (pattern == nullptr) pattern = pattern_of_name(path);
  if (pattern == nullptr) {
    fail("tokenizer", concat(path, ": required the name of a split pattern (", pattern_names(tiktoken_patterns()),
                             ") before a colon or in the file's name, found neither; say for example llama3:", path));
  }
  return TiktokenReader(path).read(bytes, *pattern);
}

}  // namespace artel
