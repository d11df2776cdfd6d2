#include <algorithm>
#include <vector>

#include "data/token_file.h"
#include "fuzz/fuzz.h"
#include "support/temporary_directory.h"

// A token file. The first byte of the input chooses type and vocabulary, the rest is the file.

using namespace artel;

namespace {

constexpr const char* kTypes[] = {"auto", "uint8", "uint16", "uint32"};
constexpr int64_t kVocabularies[] = {1, 256, 320, 50257, 65536, 65537, 2147483647};

void read_all(const TokenFile& file, int64_t vocab_size) {
  check(file.size() > 0, "an open file holds ids");
  std::vector<int32_t> ids(static_cast<size_t>(file.size()), -1);
  const bool whole = refusal_of([&] { file.read(0, file.size(), ids.data()); }).empty();
  const auto inside = [&](int32_t id) { return id >= 0 && id < vocab_size; };
  if (whole) {
    check(std::all_of(ids.begin(), ids.end(), inside), "ids that are read lie in the vocabulary");
    check(file.at(file.size() - 1) == ids.back(), "a single id is that of the whole");
  }
  int32_t id = 0;
  check(!refusal_of([&] { file.read(file.size(), 1, &id); }).empty(), "nothing is read behind the end");
  check(!refusal_of([&] { file.read(-1, 1, &id); }).empty(), "nothing is read before the beginning");
  check(refusal_of([&] { file.read(file.size(), 0, &id); }).empty(), "nothing can be read at the end");
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TemporaryDirectory directory;
  if (size == 0) return 0;
  const char* type = kTypes[data[0] % std::size(kTypes)];
  const int64_t vocab_size = kVocabularies[data[0] / std::size(kTypes) % std::size(kVocabularies)];
  const int64_t num_ids = data[0] < 128 ? 0 : 256;
  const std::string path = directory.file("tokens.bin");
  write_bytes(path, {reinterpret_cast<const char*>(data) + 1, size - 1});
  refusal_of([&] { read_all(TokenFile(path, type, vocab_size, num_ids), vocab_size); });
  return 0;
}
