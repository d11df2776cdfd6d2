#include "data/tokenizer.h"

#include "util/error.h"
#include "util/text.h"

namespace artel {

std::vector<int32_t> ByteTokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size());
  for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
  return ids;
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

bool is_known_tokenizer(std::string_view name) {
  return name == "bytes";
}

std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name) {
  if (!is_known_tokenizer(name)) fail("data", concat("data.tokenizer required 'bytes', found '", name, "'"));
  return std::make_unique<ByteTokenizer>();
}

}  // namespace artel
