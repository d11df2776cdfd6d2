#include "data/loader.h"

#include <cstring>
#include <ctime>
#include <fstream>
#include <set>

#include "support/catch.h"
#include "support/error_text.h"
#include "support/temporary_directory.h"

using namespace artel;

namespace {

// Token files whose ids are their own positions, from `begin` on.
class Folder {
 public:
  std::string rising(const std::string& name, int64_t begin, int64_t count) {
    std::vector<uint32_t> ids;
    for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<uint32_t>(begin + i));
    const std::string path = directory_.file(name);
    write_file_atomic(layer_, path, std::string_view(reinterpret_cast<const char*>(ids.data()), ids.size() * 4));
    return path;
  }

 private:
  TemporaryDirectory directory_;
  PosixFileLayer layer_;
};

constexpr int64_t seq_len = 7;
const DataOptions options{seq_len, 1000000, 0};

// Row b must be the window that `samples` names: its ids count up from where that window begins.
void check_rows(const Batch& batch, const std::vector<int64_t>& source_begins) {
  REQUIRE(batch.inputs.size() == static_cast<size_t>(batch.num_samples * seq_len));
  REQUIRE(batch.targets.size() == batch.inputs.size());
  for (int64_t b = 0; b < batch.num_samples; ++b) {
    const Sample& sample = batch.samples[static_cast<size_t>(b)];
    const int64_t begin = source_begins[static_cast<size_t>(sample.source)] + sample.window * (seq_len + 1);
    for (int64_t s = 0; s < seq_len; ++s) {
      REQUIRE(batch.inputs[static_cast<size_t>(b * seq_len + s)] == begin + s);
      REQUIRE(batch.targets[static_cast<size_t>(b * seq_len + s)] == begin + s + 1);
    }
  }
}

bool equal(const Batch& a, const Batch& b) {
  return a.inputs == b.inputs && a.targets == b.targets && a.samples == b.samples;
}

}  // namespace

TEST_CASE("A batch holds the windows it names, inputs and targets one apart") {
  Folder folder;
  DataLoader loader(
      {{folder.rising("a", 0, 8 * 13 + 5), 2.0, "uint32"}, {folder.rising("b", 5000, 8 * 9), 1.0, "uint32"}}, options,
      11);
  CHECK(loader.num_sources() == 2);
  CHECK(loader.source(0).num_windows() == 13);
  CHECK(loader.source(1).num_windows() == 9);
  const Batch batch = loader.load(0, 60);
  CHECK(batch.num_samples == 60);
  CHECK(batch.seq_len == seq_len);
  check_rows(batch, {0, 5000});
  std::set<int64_t> windows;  // one epoch of the first source
  for (int64_t b = 0, met = 0; met < 13; ++b) {
    if (batch.samples[static_cast<size_t>(b)].source != 0) continue;
    windows.insert(batch.samples[static_cast<size_t>(b)].window);
    ++met;
  }
  CHECK(windows.size() == 13);
}

TEST_CASE("The slices of any number of ranks, put together, are the batch of one rank") {
  Folder folder;
  const std::vector<DataSource> sources = {{folder.rising("a", 0, 999), 2.0, "uint32"},
                                           {folder.rising("b", 5000, 777), 1.0, "uint32"}};
  DataLoader alone(sources, options, 5);
  const int64_t global_batch = 12;
  for (const int64_t num_ranks : {1, 2, 3, 4, 6, 12}) {
    std::vector<std::unique_ptr<DataLoader>> ranks;
    for (int64_t r = 0; r < num_ranks; ++r) ranks.push_back(std::make_unique<DataLoader>(sources, options, 5));
    const int64_t per_rank = global_batch / num_ranks;
    for (int64_t step = 0; step < 20; ++step) {
      Batch whole;
      for (int64_t r = 0; r < num_ranks; ++r) {
        const int64_t first = step * global_batch + r * per_rank;
        const Batch part = ranks[static_cast<size_t>(r)]->load(first, per_rank);
        ranks[static_cast<size_t>(r)]->prefetch(first + global_batch, per_rank);
        whole.inputs.insert(whole.inputs.end(), part.inputs.begin(), part.inputs.end());
        whole.targets.insert(whole.targets.end(), part.targets.begin(), part.targets.end());
        whole.samples.insert(whole.samples.end(), part.samples.begin(), part.samples.end());
      }
      REQUIRE(equal(whole, alone.load(step * global_batch, global_batch)));
    }
  }
}

TEST_CASE("Starting at any sample equals going on from the beginning") {
  Folder folder;
  const std::vector<DataSource> sources = {{folder.rising("a", 0, 500), 0.61, "uint32"},
                                           {folder.rising("b", 5000, 200), 0.39, "uint32"}};
  DataLoader through(sources, options, 3);
  Batch batch;
  for (int64_t step = 0; step < 40; ++step) {
    through.load(step * 4, 4, batch);
    through.prefetch((step + 1) * 4, 4);
    DataLoader resumed(sources, options, 3);
    REQUIRE(equal(resumed.load(step * 4, 4), batch));
  }
}

TEST_CASE("Reading ahead changes nothing, whether or not what was asked for is then loaded") {
  Folder folder;
  const std::vector<DataSource> sources = {{folder.rising("a", 0, 4000), 1.0, "uint32"}};
  DataLoader plain(sources, options, 3), ahead(sources, options, 3);
  Batch batch;
  for (int64_t i = 0; i < 300; ++i) {
    const int64_t first = i * 5 % 97, count = 1 + i % 4;
    ahead.load(first, count, batch);
    REQUIRE(batch.num_samples == count);
    REQUIRE(equal(batch, plain.load(first, count)));
    if (i % 7 == 3) continue;
    ahead.prefetch((i + 1) * 5 % 97, i % 3 == 0 ? 2 : 1 + (i + 1) % 4);
    if (i % 5 == 0) ahead.prefetch((i + 1) * 5 % 97, 1 + (i + 1) % 4);
  }
  ahead.prefetch(0, 4);  // the destructor may meet a request under way
}

TEST_CASE("A batch is refilled without new memory") {
  Folder folder;
  DataLoader loader({{folder.rising("a", 0, 4000), 1.0, "uint32"}}, options, 3);
  Batch batch;
  std::set<const int32_t*> seen;
  std::vector<std::vector<int32_t>> decoys;  // take whatever memory of this size is given back
  for (int64_t i = 0; i < 20; ++i) {
    loader.load(i * 8, 8, batch);
    loader.prefetch((i + 1) * 8, 8);
    seen.insert(batch.inputs.data());
    decoys.emplace_back(batch.inputs.size());
  }
  CHECK(seen.size() <= 2);
}

TEST_CASE("An id outside the vocabulary is reported at the load, also when it was met in the background") {
  Folder folder;
  const std::string path = folder.rising("a", 0, 80);
  const DataOptions narrow{seq_len, 79, 0};
  DataLoader loader({{path, 1.0, "uint32"}}, narrow, 3);
  int64_t bad = -1;
  for (int64_t g = 0; g < 10; ++g) {
    if (loader.sample(g).window == 9) bad = g;  // id 79 is the last id of the last window
  }
  REQUIRE(bad >= 0);
  const std::string expected =
      "[data] " + path + ": required ids below model.vocab_size 79, found id 79 at position 79 (read as uint32)";
  CHECK(error_text([&] { loader.load(bad, 1); }) == expected);
  loader.prefetch(bad, 1);
  CHECK(error_text([&] { loader.load(bad, 1); }) == expected);
  // An error of samples that nobody asked for in the end is nobody's error.
  loader.prefetch(bad, 1);
  const int64_t good = bad == 0 ? 1 : 0;
  check_rows(loader.load(good, 1), {0});
  loader.prefetch(good, 1);
  check_rows(loader.load(good, 1), {0});
}

TEST_CASE("A source shorter than one window, or bad, is an error that names it") {
  Folder folder;
  const std::string good = folder.rising("good", 0, 100), brief = folder.rising("brief", 0, 7);
  CHECK(error_text([&] {
          DataLoader({{good, 1.0, "uint32"}, {brief, 1.0, "uint32"}}, options, 3);
        }) == "[data] " + brief +
                  ": required at least one window of 8 ids (sequence length 7 + 1), found a file that ends at "
                  "position 7");
  CHECK(DataLoader({{folder.rising("just", 0, 8), 1.0, "uint32"}}, options, 3).source(0).num_windows() == 1);
  CHECK(contains(error_text([&] { DataLoader({{good + "x", 1.0, "auto"}}, options, 3); }), good + "x"));
  CHECK(contains(error_text([&] { DataLoader({}, options, 3); }), "at least one file"));
  CHECK(contains(error_text([&] {
                   DataLoader({{good, 1.0, "uint32"}}, {0, 100, 0}, 3);
                 }),
                 "sequence length required 1"));
  DataLoader loader({{good, 1.0, "uint32"}}, options, 3);
  CHECK(contains(error_text([&] { loader.load(-1, 1); }), "at least 1 sample"));
  CHECK(contains(error_text([&] { loader.load(0, 0); }), "at least 1 sample"));
  CHECK(contains(error_text([&] { loader.prefetch(0, 0); }), "at least 1 sample"));
}

TEST_CASE("A validation set is read from its beginning, as many batches as asked for or all") {
  Folder folder;
  const ValidationReader reader({folder.rising("v", 300, 8 * 10 + 3), 1.0, "uint32"}, options);
  CHECK(reader.num_windows() == 10);
  CHECK(reader.num_batches(2, 4) == 2);
  CHECK(reader.num_batches(0, 4) == 3);
  CHECK(reader.num_batches(100, 4) == 3);
  CHECK(reader.num_batches(0, 5) == 2);
  Batch batch;
  int64_t num_read = 0;
  for (int64_t i = 0; i < 3; ++i) {
    reader.read(i * 4, 4, batch);
    CHECK(batch.num_samples == (i < 2 ? 4 : 2));
    check_rows(batch, {300});
    for (const Sample& sample : batch.samples) CHECK(sample.window == num_read++);
  }
  CHECK(num_read == 10);
  CHECK(contains(error_text([&] { reader.read(10, 1, batch); }), "required a window below 10, found window 10"));
  CHECK(contains(error_text([&] { reader.num_batches(-1, 4); }), "found -1 of 4"));
}

TEST_CASE("A token costs a small part of a tenth of a microsecond of processor time", "[slow]") {
  // A tenth of a microsecond is 1 % of a step at 100,000 tokens/s.
  const TemporaryDirectory directory;
  constexpr int64_t num_ids = int64_t{1} << 23, length = 4096, count = 32, batches = 16;
  std::string ids(2 * num_ids, '\0');
  for (size_t i = 0; i < ids.size(); i += 2) {
    ids[i] = static_cast<char>(i * 2654435761U >> 13);
    ids[i + 1] = static_cast<char>(i % 16411 < 2 ? 0 : i % 100);
  }
  const std::string path = directory.file("ids.bin");
  std::ofstream(path, std::ios::binary) << ids;
  for (const bool masked : {false, true}) {
    DataOptions own{length, 65536, 0};
    own.document_mask = masked;
    own.end_of_document = 0;
    DataLoader loader({{path, 1.0, "uint16"}}, own, 3);
    Batch batch;
    loader.load(0, count, batch);  // memory is there from now on
    const std::clock_t start = std::clock();
    for (int64_t i = 1; i <= batches; ++i) {
      loader.prefetch(i * count, count);  // on the thread of the loader, whose time counts too
      loader.load(i * count, count, batch);
    }
    const double microseconds = 1e6 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    const double microseconds_per_token = microseconds / static_cast<double>(batches * count * length);
    INFO((masked ? "within documents" : "without a mask"));
    CHECK(microseconds_per_token < 0.1);
  }
}
