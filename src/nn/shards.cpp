#include "nn/shards.h"

#include <algorithm>

#include "nn/parameter.h"
#include "util/error.h"

namespace artel {
namespace {

// The last place at or before `position` where a stored row of `parameter` begins; between the end of its elements and
// the next parameter any place will do.
std::int64_t row_boundary(const Parameter& parameter, std::int64_t position) {
  std::int64_t begin = parameter.arena_offset;
  for (const StoredSlice& slice : parameter.slices) {
    const std::int64_t end = begin + slice.memory_numel();
    if (position < end) {
      const Shape shape = slice.memory_shape();
      const std::int64_t row = shape.rank() > 1 ? shape.numel() / shape[0] : 1;
      return begin + (position - begin) / row * row;
    }
    begin = end;
  }
  return position;
}

// Parameters first .. last (indices into `order`, ascending in the arena) as one bucket for `num_ranks` copies.
GradientBucket make_bucket(const std::vector<const Parameter*>& order, std::size_t first, std::size_t last,
                           std::int64_t end, int num_ranks) {
  GradientBucket bucket{order[first]->kind, {}};
  const std::int64_t begin = order[first]->arena_offset;
  std::size_t at = first;
  for (int rank = 0; rank < num_ranks; ++rank) {
    const std::int64_t position = begin + (end - begin) / num_ranks * rank;
    while (at < last && order[at + 1]->arena_offset <= position) ++at;
    bucket.cuts.push_back(row_boundary(*order[at], position));
  }
  bucket.cuts.push_back(end);
  return bucket;
}

}  // namespace

ArenaRanges::ArenaRanges(std::vector<ArenaRange> ranges) : ranges_(std::move(ranges)), offsets_{0} {
  for (const ArenaRange& range : ranges_) offsets_.push_back(offsets_.back() + range.end - range.begin);
}

Tensor ArenaRanges::rows(const Tensor& compact, std::int64_t begin, std::int64_t end) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), begin,
                                      [](std::int64_t value, const ArenaRange& range) { return value < range.begin; });
  const std::ptrdiff_t index = after - ranges_.begin() - 1;
  if (index < 0 || end > ranges_[static_cast<std::size_t>(index)].end) {
    fail("shards", "required elements of one shard, found " + std::to_string(begin) + " to " + std::to_string(end));
  }
  const std::int64_t shift = offsets_[static_cast<std::size_t>(index)] - ranges_[static_cast<std::size_t>(index)].begin;
  return compact.rows(begin + shift, end + shift);
}

std::vector<GradientBucket> make_buckets(const ParameterStore& store, ReplicaCounts replicas,
                                         std::int64_t bucket_elements) {
  std::vector<const Parameter*> order;
  for (const Parameter& parameter : store.parameters()) order.push_back(&parameter);
  std::vector<const Parameter*> declared = order;
  std::sort(order.begin(), order.end(),
            [](const Parameter* a, const Parameter* b) { return a->arena_offset < b->arena_offset; });

  struct Ready {
    std::ptrdiff_t first_declared;
    GradientBucket bucket;
  };
  std::vector<Ready> ready;
  for (std::size_t first = 0; first < order.size();) {
    const auto end_of = [&](std::size_t i) {
      return i + 1 < order.size() ? order[i + 1]->arena_offset : store.num_elements();
    };
    std::size_t last = first;
    while (last + 1 < order.size() && order[last + 1]->kind == order[first]->kind &&
           end_of(last + 1) - order[first]->arena_offset <= bucket_elements) {
      ++last;
    }
    const int num_ranks = order[first]->kind == ParameterKind::dense ? replicas.dense : replicas.expert;
    // Within a kind the arena has the order of declaration: the first one is the last to complete.
    const std::ptrdiff_t declared_at = std::find(declared.begin(), declared.end(), order[first]) - declared.begin();
    ready.push_back({declared_at, make_bucket(order, first, last, end_of(last), num_ranks)});
    first = last + 1;
  }
  std::sort(ready.begin(), ready.end(),
            [](const Ready& a, const Ready& b) { return a.first_declared > b.first_declared; });
  std::vector<GradientBucket> buckets;
  for (Ready& entry : ready) buckets.push_back(std::move(entry.bucket));
  return buckets;
}

ArenaRanges own_pieces(const std::vector<GradientBucket>& buckets, int dense_rank, int expert_rank) {
  std::vector<ArenaRange> ranges;
  for (const GradientBucket& bucket : buckets) {
    const auto rank = static_cast<std::size_t>(bucket.kind == ParameterKind::dense ? dense_rank : expert_rank);
    if (bucket.cuts[rank] < bucket.cuts[rank + 1]) ranges.push_back({bucket.cuts[rank], bucket.cuts[rank + 1]});
  }
  std::sort(ranges.begin(), ranges.end(), [](const ArenaRange& a, const ArenaRange& b) { return a.begin < b.begin; });
  // Pieces that touch are one run: with one rank the whole arena is.
  std::vector<ArenaRange> merged;
  for (const ArenaRange& range : ranges) {
    if (!merged.empty() && merged.back().end == range.begin) {
      merged.back().end = range.end;
    } else {
      merged.push_back(range);
    }
  }
  return ArenaRanges(std::move(merged));
}

}  // namespace artel
