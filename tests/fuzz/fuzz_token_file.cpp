#include "fuzz/token_checks.h"
#include "support/temporary_directory.h"

// A token file. The first byte of the input chooses type and vocabulary, the rest is the file.

using namespace artel;

namespace {

constexpr const char* kTypes[] = {"auto", "uint8", "uint16", "uint32"};
constexpr int64_t kVocabularies[] = {1, 256, 320, 50257, 65536, 65537, 2147483647};

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TemporaryDirectory directory;
  if (size == 0) return 0;
  const char* type = kTypes[data[0] % std::size(kTypes)];
  const int64_t vocab_size = kVocabularies[data[0] / std::size(kTypes) % std::size(kVocabularies)];
  const int64_t num_ids = data[0] < 128 ? 0 : 256;
  const std::string path = directory.file("tokens.bin");
  write_bytes(path, {reinterpret_cast<const char*>(data) + 1, size - 1});
  refusal_of([&] { check_token_file(TokenFile(path, type, vocab_size, num_ids), vocab_size); });
  return 0;
}
