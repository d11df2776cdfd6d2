#include "tokenizer/tokenizer.h"

#include <filesystem>

#include "tokenizer/patterns.h"
#include "tokenizer/tiktoken.h"
#include "tokenizer/tokenizer_json.h"
#include "util/error.h"
#include "util/files.h"
#include "util/text.h"

namespace artel {
namespace {

class ByteEncoder : public Encoder {
 public:
  void encode(std::string_view text, std::vector<int32_t>& ids) override {
    ids.reserve(ids.size() + text.size());
    for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
  }
};

// What data.tokenizer says about a file: its path and, before a colon, the pattern it is to be split by.
struct TokenizerName {
  std::string path;
  const SplitPattern* pattern = nullptr;
};

TokenizerName parse_name(std::string_view name) {
  TokenizerName parsed{std::string(name), nullptr};
  if (const size_t colon = name.find(':'); colon != std::string_view::npos) {
    parsed.pattern = find_pattern(name.substr(0, colon));
    if (parsed.pattern != nullptr) parsed.path = std::string(name.substr(colon + 1));
  }
  std::error_code error;
  if (std::filesystem::is_directory(parsed.path, error)) parsed.path = join_path(parsed.path, "tokenizer.json");
  return parsed;
}

bool looks_like_json(std::string_view bytes) {
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && bytes[first] == '{';
}

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  make_encoder()->encode(text, ids);
  return ids;
}

std::vector<int32_t> Tokenizer::missing_ids() const {
  std::vector<int32_t> missing;
  for (int32_t id = 0; id < num_ids(); ++id) {
    if (!has_id(id)) missing.push_back(id);
  }
  return missing;
}

std::optional<int32_t> ByteTokenizer::find_token(std::string_view token) const {
  if (token.size() != 1) return std::nullopt;
  return static_cast<unsigned char>(token[0]);
}

std::unique_ptr<Encoder> ByteTokenizer::make_encoder() const {
  return std::make_unique<ByteEncoder>();
}

std::string ByteTokenizer::decode(const std::vector<int32_t>& ids) const {
  std::string text;
  text.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] > 255) {
      fail("data", concat("the bytes tokenizer required ids from 0 to 255, found ", ids[i], " at position ", i));
    }
    text += static_cast<char>(ids[i]);
  }
  return text;
}

size_t ByteTokenizer::safe_cut(std::string_view text) const {
  return text.empty() ? 0 : text.size() - 1;
}

bool is_known_tokenizer(std::string_view name) {
  std::error_code error;
  return name == "bytes" || std::filesystem::is_regular_file(parse_name(name).path, error);
}

std::vector<std::string> tokenizer_files(std::string_view name) {
  if (name == "bytes") return {};
  return {parse_name(name).path};
}

std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name) {
  if (name == "bytes") return std::make_unique<ByteTokenizer>();
  if (!is_known_tokenizer(name)) {
    fail("tokenizer", concat("required 'bytes' or the path of a tokenizer.json or of a tiktoken file, found '", name,
                             "', and no such file"));
  }
  const TokenizerName parsed = parse_name(name);
  const std::string bytes = read_file(parsed.path);
  if (!looks_like_json(bytes)) return read_tiktoken(bytes, parsed.path, parsed.pattern);
  if (parsed.pattern != nullptr) {
    fail("tokenizer", concat(parsed.path, ": required no pattern for a tokenizer.json, which says its own, found ",
                             parsed.pattern->name, "; give the path alone"));
  }
  return read_tokenizer_json(bytes, parsed.path);
}

}  // namespace artel
