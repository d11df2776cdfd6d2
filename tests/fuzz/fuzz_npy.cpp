#include "fuzz/token_checks.h"
#include "support/temporary_directory.h"

// An .npy, with or without a header. The first byte of the input says how many of its last bytes are the table of
// documents beside it, 0 for none; the rest is the file.

using namespace artel;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t vocab_size = 50304;
  static const TemporaryDirectory directory;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t table_bytes = std::min<size_t>(data[0], bytes.size());
  const std::string path = directory.file(table_bytes > 0 ? "with-table.npy" : "alone.npy");
  write_bytes(path, bytes.substr(0, bytes.size() - table_bytes));
  if (table_bytes > 0) write_bytes(directory.file("with-table.csv.gz"), bytes.substr(bytes.size() - table_bytes));
  refusal_of([&] {
    const TokenFile file(path, "auto", vocab_size);
    check(table_bytes > 0 || !file.has_documents(), "without a table nothing says where documents begin");
    check_token_file(file, vocab_size);
    if (file.has_documents()) check_starts(file.document_starts(), file.size());
  });
  return 0;
}
