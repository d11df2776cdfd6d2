#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace artel {

enum class ParameterKind : std::uint8_t;
class ParameterStore;

/// A run of elements of a store's arenas.
struct ArenaRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Runs of an arena, ascending, and where each of them stands in a compact tensor that holds nothing else.
class ArenaRanges {
 public:
  ArenaRanges() = default;
  explicit ArenaRanges(std::vector<ArenaRange> ranges);
  static ArenaRanges whole(std::int64_t num_elements) { return ArenaRanges({{0, num_elements}}); }

  const std::vector<ArenaRange>& ranges() const { return ranges_; }
  std::int64_t num_elements() const { return offsets_.empty() ? 0 : offsets_.back(); }
  /// Elements begin..end of the arena, which must lie in one run, in `compact` [num_elements].
  Tensor rows(const Tensor& compact, std::int64_t begin, std::int64_t end) const;

 private:
  std::vector<ArenaRange> ranges_;
  std::vector<std::int64_t> offsets_;  ///< [runs + 1], of each run in the compact tensor
};

/// Gradients that are reduced as one: the whole of some parameters of one kind, next to each other in the arenas.
/// Within it, piece g belongs to rank g of the ranks that hold copies of these parameters.
struct GradientBucket {
  ParameterKind kind;
  std::vector<std::int64_t> cuts;  ///< [ranks + 1] offsets in the arenas, ascending; at rows of stored tensors
  std::int64_t begin() const { return cuts.front(); }
  std::int64_t end() const { return cuts.back(); }
};

/// How many ranks hold copies of the parameters of each kind.
struct ReplicaCounts {
  int dense = 1;
  int expert = 1;
};

/// Cuts a laid-out store into buckets of about `bucket_elements` elements, in the order in which backward completes
/// them: the parameters declared last first. Every piece of a bucket is made of whole rows of stored tensors, so that
/// an optimizer shard is a rectangle of a named tensor.
std::vector<GradientBucket> make_buckets(const ParameterStore& store, ReplicaCounts replicas,
                                         std::int64_t bucket_elements);

/// The pieces of the buckets that belong to the rank at these positions among the copies of each kind.
ArenaRanges own_pieces(const std::vector<GradientBucket>& buckets, int dense_rank, int expert_rank);

}  // namespace artel
