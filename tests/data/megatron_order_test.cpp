#include "data/megatron_order.h"

#include <numeric>

#include "data/loader.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/token_files.h"

using namespace artel;

namespace {

const std::vector<int64_t> sizes = {3, 2, 6, 9, 1, 4, 7, 5, 8, 2};

std::vector<int64_t> starts_of(const std::vector<int64_t>& lengths) {
  std::vector<int64_t> starts(lengths.size() + 1, 0);
  std::partial_sum(lengths.begin(), lengths.end(), starts.begin() + 1);
  return starts;
}

std::vector<int64_t> order_of(const MegatronSamples& samples) {
  std::vector<int64_t> order;
  for (int64_t i = 0; i < samples.size(); ++i) order.push_back(samples.window(i));
  return order;
}

}  // namespace

TEST_CASE("The legacy shuffle is NumPy's: seed 1234, ten numbers, then eight with the state that is left") {
  LegacyShuffle shuffle(1234);
  std::vector<int32_t> ten(10), eight(8);
  std::iota(ten.begin(), ten.end(), 0);
  std::iota(eight.begin(), eight.end(), 0);
  shuffle(ten);
  shuffle(eight);
  CHECK(ten == std::vector<int32_t>{7, 2, 9, 1, 0, 8, 4, 5, 6, 3});
  CHECK(eight == std::vector<int32_t>{7, 5, 6, 0, 4, 3, 2, 1});
}

// Orders of a transcription of GPTDataset in NumPy (tools/check_formats.py has it).
TEST_CASE("Samples of one epoch, of two, and with a last epoch apart are those of GPTDataset") {
  const MegatronSamples one(starts_of(sizes), 4, 11, 7);
  CHECK(one.sequences() == std::vector<int32_t>{8, 5, 0, 2, 1, 9, 7, 3, 6, 4});
  CHECK(one.windows() ==
        std::vector<std::pair<int64_t, int32_t>>{
            {0, 0}, {0, 4}, {1, 0}, {2, 0}, {3, 1}, {3, 5}, {5, 1}, {6, 3}, {7, 2}, {7, 6}, {8, 1}, {8, 5}});
  CHECK(order_of(one) == std::vector<int64_t>{1, 3, 2, 5, 9, 0, 4, 6, 7, 8, 10});

  const MegatronSamples two(starts_of(sizes), 4, 20, 1234);
  CHECK(two.sequences() == std::vector<int32_t>{3, 3, 2, 6, 4, 5, 4, 0, 8, 8, 7, 1, 0, 9, 7, 1, 9, 2, 6, 5});
  CHECK(order_of(two) ==
        std::vector<int64_t>{22, 21, 13, 20, 1, 4, 8, 17, 14, 19, 9, 0, 11, 7, 3, 10, 6, 2, 5, 12, 16, 18, 15});

  const MegatronSamples apart(starts_of(sizes), 4, 12, 1234);
  CHECK(apart.sequences() == std::vector<int32_t>{7, 2, 9, 1, 0, 8, 4, 5, 6, 3, 7, 3, 5, 1, 4, 8, 0, 2, 6, 9});
  CHECK(order_of(apart) ==
        std::vector<int64_t>{8, 1, 7, 10, 9, 5, 4, 3, 0, 2, 6, 19, 16, 17, 12, 15, 22, 13, 14, 21, 20, 11, 18});
  CHECK(apart.windows().back() == std::pair<int64_t, int32_t>{19, 0});
}

TEST_CASE("Windows share one id and run over the ends of sequences, empty ones too") {
  const MegatronSamples samples(starts_of({3, 0, 2, 6}), 4, 2, 1);
  std::vector<int64_t> whole;
  for (const int32_t sequence : samples.sequences()) {
    const std::vector<int64_t> starts = starts_of({3, 0, 2, 6});
    const auto index = static_cast<size_t>(sequence);
    for (int64_t p = starts[index]; p < starts[index + 1]; ++p) whole.push_back(p);
  }
  for (int64_t window = 0; window < 2; ++window) {
    std::vector<int64_t> positions;
    samples.for_each_run(window, [&](int64_t position, int64_t count) {
      for (int64_t i = 0; i < count; ++i) positions.push_back(position + i);
    });
    CHECK(positions == std::vector<int64_t>(whole.begin() + 4 * window, whole.begin() + 4 * window + 5));
  }
}

TEST_CASE("An order says which other numbers of samples have the same") {
  // 47 ids: 11 windows of an epoch, 23 of two, 35 of three. The last epoch is apart where fewer than 8 of it are
  // needed.
  const auto samples_of = [](int64_t count) { return MegatronSamples(starts_of(sizes), 4, count, 7); };
  CHECK(samples_of(3).has_order_of(11));
  CHECK_FALSE(samples_of(11).has_order_of(12));
  CHECK(samples_of(12).has_order_of(18));
  CHECK_FALSE(samples_of(12).has_order_of(19));
  CHECK(samples_of(19).has_order_of(23));
  for (int64_t a = 1; a < 40; ++a) {
    const MegatronSamples first = samples_of(a);
    for (int64_t b = 1; b < 40; ++b) {
      const MegatronSamples second = samples_of(b);
      INFO(a << " and " << b);
      CHECK(first.has_order_of(b) == (first.sequences() == second.sequences() && order_of(first) == order_of(second)));
    }
  }
  const auto blend_of = [](int64_t count) {
    return MegatronOrder({starts_of(sizes), starts_of({40, 60, 90, 30})}, {1.0, 3.0}, 4, count, 7);
  };
  // 39 samples take 10 of the first, of which half a per cent more are made: 11, as many as an epoch has. 80 take 20.
  CHECK(blend_of(36).has_order_of(39));
  CHECK(blend_of(39).has_order_of(36));
  CHECK_FALSE(blend_of(36).has_order_of(80));
  const MegatronOrder shorter = blend_of(36), longer = blend_of(39);
  for (int64_t i = 0; i < 36; ++i) CHECK(shorter.sample(i) == longer.sample(i));
}

TEST_CASE("The blend takes the data set that is furthest behind, the first among equals") {
  const std::vector<std::pair<int32_t, int64_t>> expected = {{0, 0}, {1, 0}, {2, 0}, {0, 1}, {1, 1}, {0, 2},
                                                             {2, 1}, {0, 3}, {1, 2}, {0, 4}, {0, 5}, {1, 3}};
  CHECK(megatron_blend({0.5, 0.3, 0.2}, 12) == expected);
  CHECK(megatron_blend_sizes({0.5, 0.3, 0.2}, 1000) == std::vector<int64_t>{503, 302, 201});
}

TEST_CASE("The loader reads in Megatron's order, blended by weight, and says where documents begin") {
  Folder folder;
  std::vector<int64_t> ids(47);
  std::iota(ids.begin(), ids.end(), 0);
  const std::string a = folder.write(little_endian(ids, 2), "a.bin");
  folder.write(megatron_index(8, 2, sizes, {0, 10}), "a.idx");
  for (int64_t& id : ids) id += 100;
  const std::string b = folder.write(little_endian(ids, 2), "b.bin");
  folder.write(megatron_index(8, 2, sizes, {0, 10}), "b.idx");
  DataOptions options{4, 1000, 0};
  options.megatron_order = true;
  options.document_mask = true;
  options.num_samples = 11;
  DataLoader single({{a}}, options, 7);
  const Batch batch = single.load(0, 2);
  // Windows 1 and 3: sequences 8, 5, 0, 2, 1 … are ids 37 to 44, 21 to 24, 0 to 2, 5 to 10, 3 to 4.
  CHECK(batch.inputs == std::vector<int32_t>{41, 42, 43, 44, 0, 1, 2, 5});
  CHECK(batch.targets == std::vector<int32_t>{42, 43, 44, 21, 1, 2, 5, 6});
  CHECK(batch.document_starts == std::vector<int32_t>{0, 0, 0, 0, 0, 0, 0, 3});
  CHECK(contains(error_text([&] { single.load(11, 1); }), "required a sample below the 11 of the run"));

  options.num_samples = 12;
  DataLoader blend({{a, 3.0}, {b, 1.0}}, options, 7);
  const Batch both = blend.load(0, 12);
  const auto turns = megatron_blend({0.75, 0.25}, 12);
  for (size_t i = 0; i < 12; ++i) {
    CHECK(both.samples[i].source == turns[i].first);
    CHECK((both.inputs[4 * i] >= 100) == (turns[i].first == 1));
  }
  options.document_mask = false;
  CHECK(contains(error_text([&] { DataLoader({{folder.write(std::string(100, 'a'), "c")}}, options, 7); }),
                 "required a Megatron data set (.bin and .idx) in " + folder.file("c") + ", found format raw"));
  CHECK(contains(error_text([&] { DataLoader({{a}}, options, uint64_t{1} << 32); }), "required run.seed from 0"));
}
