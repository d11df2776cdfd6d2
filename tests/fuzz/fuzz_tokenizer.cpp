#include "fuzz/fuzz.h"
#include "tokenizer/tokenizer_json.h"

// A tokenizer.json. What is accepted encodes and decodes text of all kinds, and where it may be cut it is.

using namespace artel;

namespace {

constexpr std::string_view kText =
    "Hello, world! don't 12345 \t\r\n\n  x\xc3\xa9"
    "e\xcc\x81 \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x94\xac\xc2\xa0 <|endoftext|> \xff\xc3 "
    "\xe2\x84\xab ab abab";

void encode(const Tokenizer& tokenizer, std::string_view text) {
  const auto inside = [&](int32_t id) { return id >= 0 && id < tokenizer.num_ids(); };
  const std::vector<int32_t> ids = tokenizer.encode(text);
  for (const int32_t id : ids) check(inside(id), "an id is one of the tokenizer's");
  tokenizer.decode(ids);
  const size_t cut = tokenizer.safe_cut(text);
  check(cut < text.size() || text.empty(), "a cut lies within the text");
  if (cut == 0) return;
  std::vector<int32_t> parts = tokenizer.encode(text.substr(0, cut));
  const std::vector<int32_t> rest = tokenizer.encode(text.substr(cut));
  parts.insert(parts.end(), rest.begin(), rest.end());
  check(parts == ids, "a text that is cut where it may be has the ids of the whole");
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes = text_of(data, size);
  std::unique_ptr<Tokenizer> tokenizer;
  const std::string refusal =
      refusal_of([&] { tokenizer = read_tokenizer_json(bytes, "/nonexistent/tokenizer.json"); });
  if (!refusal.empty()) {
    check(refusal.find('\n') == std::string::npos, "an error is one line");
    return 0;
  }
  refusal_of([&] { encode(*tokenizer, kText); });
  refusal_of([&] { encode(*tokenizer, std::string_view(bytes).substr(size - std::min<size_t>(size, 200))); });
  if (tokenizer->has_end_of_document()) {
    check(tokenizer->end_of_document() < tokenizer->num_ids(), "the id that ends a document is one of the ids");
  }
  return 0;
}
