#include "data/document_starts.h"

#include "data/loader.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/token_files.h"

using namespace artel;

TEST_CASE("A document begins behind the id that ends the one before, or where the bounds say") {
  const std::vector<int32_t> ids = {5, 9, 6, 7, 9, 9, 8};
  std::vector<int32_t> starts(ids.size());
  document_starts_by_id(ids.data(), 7, 9, starts.data());
  CHECK(starts == std::vector<int32_t>{0, 0, 2, 2, 2, 5, 6});
  const std::vector<int64_t> bounds = {0, 4, 4, 12, 14, 15, 30};
  document_starts_by_bounds(bounds, 10, 7, starts.data());
  CHECK(starts == std::vector<int32_t>{0, 0, 2, 2, 4, 5, 5});
  document_starts_by_bounds(bounds, 4, 7, starts.data());
  CHECK(starts == std::vector<int32_t>{0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("Batches say where documents begin when asked to, by bounds before ids") {
  Folder folder;
  const std::string path = folder.write(std::string("\1\2\0\3\4\5\0\6\7\0\1\2", 12), "a");
  DataOptions options{5, 256, 0};
  CHECK(DataLoader({{path}}, options, 1).load(0, 2).document_starts.empty());
  options.document_mask = true;
  CHECK(contains(error_text([&] { DataLoader({{path}}, options, 1); }), "set data.end_of_document or data.tokenizer"));
  options.end_of_document = 0;
  Batch batch;
  ValidationReader({path}, options).read(0, 2, batch);
  CHECK(batch.inputs == std::vector<int32_t>{1, 2, 0, 3, 4, 0, 6, 7, 0, 1});
  CHECK(batch.document_starts == std::vector<int32_t>{0, 0, 0, 3, 3, 0, 1, 1, 1, 4});
  const Batch loaded = DataLoader({{path}}, options, 1).load(0, 2);
  const size_t first = loaded.samples[0].window == 0 ? 0 : 5;
  CHECK(std::equal(loaded.document_starts.begin(), loaded.document_starts.begin() + 5,
                   batch.document_starts.begin() + static_cast<std::ptrdiff_t>(first)));

  folder.write(little_endian({1, 2, 0, 3, 4, 5, 0, 6, 7, 0, 1, 2}, 2), "b.bin");
  folder.write(megatron_index(8, 2, {4, 3, 5}, {0, 1, 2, 3}), "b.idx");
  ValidationReader({folder.file("b.bin")}, options).read(0, 2, batch);
  CHECK(batch.document_starts == std::vector<int32_t>{0, 0, 0, 0, 4, 0, 1, 1, 1, 1});
}
