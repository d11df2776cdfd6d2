#include "nn/shards.h"

#include <algorithm>

#include "nn/parameter.h"
#include "support/catch.h"
#include "support/error_text.h"
#include "support/test_device.h"

using namespace artel;

namespace {

Parameter parameter_of(const std::string& name, const Shape& shape, ParameterKind kind) {
  Parameter parameter;
  parameter.name = name;
  parameter.shape = shape;
  parameter.kind = kind;
  parameter.slices = {whole_slice(name, shape)};
  return parameter;
}

// Two layers of a dense matrix, a norm and an expert tensor of two stored matrices, and a head.
void declare_all(ParameterStore& store) {
  for (const char* layer : {"0.", "1."}) {
    const std::string prefix = layer;
    store.declare(parameter_of(prefix + "dense", {30, 7}, ParameterKind::dense));
    store.declare(parameter_of(prefix + "norm", {7}, ParameterKind::dense));
    Parameter experts = parameter_of(prefix + "experts", {2, 11, 5}, ParameterKind::expert);
    experts.slices = {whole_slice(prefix + "experts.0", {11, 5}), whole_slice(prefix + "experts.1", {9, 3})};
    experts.slices[1].padded_shape = {11, 5};
    store.declare(std::move(experts));
  }
  store.declare(parameter_of("head", {40, 7}, ParameterKind::dense));
  store.lay_out();
}

// Whether a shard may be cut here: between parameters, or where a stored row begins.
bool is_boundary(const ParameterStore& store, std::int64_t position) {
  for (const Parameter& parameter : store.parameters()) {
    std::int64_t begin = parameter.arena_offset;
    for (const StoredSlice& slice : parameter.slices) {
      const Shape shape = slice.memory_shape();
      const std::int64_t row = shape.rank() > 1 ? shape[1] : 1;
      if (position >= begin && position < begin + shape.numel()) return (position - begin) % row == 0;
      begin += shape.numel();
    }
  }
  return true;
}

}  // namespace

TEST_CASE("Buckets cover the arena once, hold one kind each, and are cut at stored rows") {
  ParameterStore store;
  declare_all(store);
  const std::int64_t bucket_elements = GENERATE(1, 300, 1 << 20);
  const ReplicaCounts replicas{GENERATE(1, 3, 7), GENERATE(1, 2)};
  const auto buckets = make_buckets(store, replicas, bucket_elements);
  std::vector<ArenaRange> covered;
  for (const GradientBucket& bucket : buckets) {
    const int num_ranks = bucket.kind == ParameterKind::dense ? replicas.dense : replicas.expert;
    CHECK(static_cast<int>(bucket.cuts.size()) == num_ranks + 1);
    CHECK(std::is_sorted(bucket.cuts.begin(), bucket.cuts.end()));
    for (const std::int64_t cut : bucket.cuts) CHECK(is_boundary(store, cut));
    for (const Parameter& parameter : store.parameters()) {
      if (parameter.arena_offset < bucket.begin() || parameter.arena_offset >= bucket.end()) continue;
      CHECK(parameter.kind == bucket.kind);
      CHECK(parameter.arena_offset + parameter.numel() <= bucket.end());
    }
    covered.push_back({bucket.begin(), bucket.end()});
  }
  std::sort(covered.begin(), covered.end(), [](auto& a, auto& b) { return a.begin < b.begin; });
  CHECK(covered.front().begin == 0);
  CHECK(covered.back().end == store.num_elements());
  for (std::size_t i = 1; i < covered.size(); ++i) CHECK(covered[i].begin == covered[i - 1].end);
}

TEST_CASE("Buckets come in the order in which backward completes them") {
  ParameterStore store;
  declare_all(store);
  std::vector<std::int64_t> firsts;
  const auto buckets = make_buckets(store, {2, 2}, 1);
  for (const GradientBucket& bucket : buckets) firsts.push_back(bucket.begin());
  std::vector<std::int64_t> expected;
  for (auto parameter = store.parameters().rbegin(); parameter != store.parameters().rend(); ++parameter) {
    expected.push_back(parameter->arena_offset);
  }
  CHECK(firsts == expected);
}

TEST_CASE("The pieces of all ranks are the arena, each element once") {
  ParameterStore store;
  declare_all(store);
  const auto buckets = make_buckets(store, {4, 2}, 300);
  std::vector<bool> is_dense(static_cast<std::size_t>(store.num_elements()), false);
  for (const GradientBucket& bucket : buckets) {
    for (std::int64_t i = bucket.begin(); i < bucket.end(); ++i) {
      is_dense[static_cast<std::size_t>(i)] = bucket.kind == ParameterKind::dense;
    }
  }
  std::vector<int> owners(is_dense.size(), 0);
  for (int rank = 0; rank < 4; ++rank) {
    // With experts over two positions, rank r is replica r / 2 of its experts; those of position 0 are counted.
    const ArenaRanges pieces = own_pieces(buckets, rank, rank / 2);
    for (const ArenaRange& range : pieces.ranges()) {
      for (std::int64_t i = range.begin; i < range.end; ++i) {
        const auto at = static_cast<std::size_t>(i);
        if (is_dense[at] || rank % 2 == 0) ++owners[at];
      }
    }
  }
  CHECK(std::all_of(owners.begin(), owners.end(), [](int count) { return count == 1; }));
}

TEST_CASE("Runs stand one behind the other in a compact tensor, and nothing between them can be asked for") {
  TestDevice device;
  Context context = device.context();
  const ArenaRanges ranges({{10, 20}, {40, 45}});
  CHECK(ranges.num_elements() == 15);
  const Tensor compact = context.empty({15}, DType::f32);
  CHECK(ranges.rows(compact, 12, 20).raw() == compact.rows(2, 10).raw());
  CHECK(ranges.rows(compact, 40, 45).raw() == compact.rows(10, 15).raw());
  CHECK(error_text([&] { ranges.rows(compact, 15, 21); }).find("elements of one shard") != std::string::npos);
  CHECK(error_text([&] { ranges.rows(compact, 5, 12); }).find("elements of one shard") != std::string::npos);
}
