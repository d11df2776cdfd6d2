#include "data/megatron_index.h"
#include "fuzz/token_checks.h"
#include "support/temporary_directory.h"

// A Megatron data set. The first byte of the input says how many of its last bytes are the .bin, the rest is the .idx.

using namespace artel;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t vocab_size = 1000;
  static const TemporaryDirectory directory;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t bin_bytes = std::min<size_t>(data[0], bytes.size());
  const std::string path = directory.file("d.bin");
  const std::string index = directory.file("d.idx");
  write_bytes(path, bytes.substr(bytes.size() - bin_bytes));
  write_bytes(index, bytes.substr(0, bytes.size() - bin_bytes));
  refusal_of([&] {
    const TokenFile file(path, "auto", vocab_size);
    check(file.has_documents(), "a Megatron data set says where documents begin");
    check_token_file(file, vocab_size);
    check_starts(file.document_starts(), file.size());
    const MegatronIndex opened(index);
    const std::vector<int64_t> sequences = opened.sequence_starts();
    check(static_cast<int64_t>(sequences.size()) == opened.num_sequences() + 1, "every sequence begins somewhere");
    check_starts(sequences, file.size());
  });
  return 0;
}
