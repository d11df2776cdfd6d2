#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace artel {

/// What two neighbouring tokens become, and how early: lower ranks are merged first.
struct PairMerge {
  int32_t rank = -1;  ///< -1: the pair is not merged
  int32_t id = -1;
};

/// From pairs of ids to merges; open addressing, at most half full.
class PairTable {
 public:
  explicit PairTable(size_t num_pairs) {
    size_t size = 16;
    while (size < 2 * num_pairs) size *= 2;
    entries_.resize(size);
    shift_ = 64;
    for (size_t rest = size; rest > 1; rest /= 2) --shift_;
  }

  /// A pair that is there already gets the new merge. At most as many pairs as announced.
  void insert(int32_t left, int32_t right, PairMerge merge) {
    Entry& entry = entries_[slot_of(key_of(left, right))];
    entry.key = key_of(left, right);
    entry.merge = merge;
  }

  PairMerge find(int32_t left, int32_t right) const { return entries_[slot_of(key_of(left, right))].merge; }

 private:
  static constexpr uint64_t no_key = ~uint64_t{0};
  struct Entry {
    uint64_t key = no_key;
    PairMerge merge;
  };

  static uint64_t key_of(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const {
    size_t slot = (key * 0x9E3779B97F4A7C15U) >> shift_;
    while (entries_[slot].key != key && entries_[slot].key != no_key) slot = (slot + 1) & (entries_.size() - 1);
    return slot;
  }

  std::vector<Entry> entries_;
  int shift_ = 0;
};

}  // namespace artel
