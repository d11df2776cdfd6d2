#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "data/sampler.h"

namespace artel {

/// The shuffle of NumPy's legacy RandomState: Mersenne Twister seeded with one integer, numbers from 0 to i drawn by
/// masking 32 bits and rejecting.
class LegacyShuffle {
 public:
  explicit LegacyShuffle(uint32_t seed) : words_(seed) {}

  template <class T>
  void operator()(std::vector<T>& values) {
    shuffle(values.data(), static_cast<int64_t>(values.size()));
  }
  template <class T>
  void shuffle(T* values, int64_t size) {
    for (int64_t i = size - 1; i >= 1; --i) std::swap(values[i], values[draw(static_cast<uint64_t>(i))]);
  }

 private:
  uint64_t draw(uint64_t most);

  std::mt19937 words_;
};

/// How often a data set is gone through for a number of samples, and whether the last time is shuffled apart from the
/// others: all of that number that the order of the samples depends on.
struct MegatronEpochs {
  int64_t count = 0;
  bool last_apart = false;
  bool operator==(const MegatronEpochs&) const = default;
};

/// The samples of a Megatron-core GPTDataset: sequences of an IndexedDataset, shuffled epoch by epoch and laid end to
/// end, cut into windows of seq_len + 1 ids that share one id, and the windows shuffled.
/// Megatron-LM, megatron/core/datasets/gpt_dataset.py and helpers.cpp.
class MegatronSamples {
 public:
  /// sequence_starts [S + 1]: position of each sequence and the number of all ids; num_samples >= 1. Throws Error when
  /// the ids do not make one window.
  MegatronSamples(std::vector<int64_t> sequence_starts, int64_t seq_len, int64_t num_samples, uint32_t seed);

  /// Whether they would be the same in the same order had so many been asked for, as far as both go.
  bool has_order_of(int64_t num_samples) const { return epochs_of(num_samples) == epochs_of(num_samples_); }

  /// How many samples there are, at least as many as asked for.
  int64_t size() const { return static_cast<int64_t>(shuffled_.size()); }
  /// The window that is sample `index`.
  int64_t window(int64_t index) const { return shuffled_[static_cast<size_t>(index)]; }
  /// Calls read(position, count) for the runs of ids that together are a window of seq_len + 1.
  void for_each_run(int64_t window, const std::function<void(int64_t position, int64_t count)>& read) const;

  /// Sequences in the order in which they are laid end to end.
  const std::vector<int32_t>& sequences() const { return sequences_; }
  /// Where each window begins: index into sequences(), and id of that sequence. One more than there are windows.
  const std::vector<std::pair<int64_t, int32_t>>& windows() const { return windows_; }

 private:
  MegatronEpochs epochs_of(int64_t num_samples) const;
  int64_t length(int64_t index) const;
  void shuffle_sequences(int64_t num_epochs, bool apart, LegacyShuffle& shuffle);
  void cut_windows(int64_t num_windows);

  std::vector<int64_t> sequence_starts_;
  int64_t seq_len_;
  int64_t num_samples_;  // asked for
  std::vector<int32_t> sequences_;
  std::vector<std::pair<int64_t, int32_t>> windows_;
  std::vector<uint32_t> shuffled_;
};

/// Which data set each of `size` samples comes from, and how many came from it before: always the one with the largest
/// weight · max(i, 1) - samples so far, the first among equals. Weights sum to 1. Megatron-LM, BlendedDataset.
std::vector<std::pair<int32_t, int64_t>> megatron_blend(const std::vector<double>& weights, int64_t size);

/// How many samples Megatron-core prepares of each data set of a blend of `num_samples`: half a per cent more.
std::vector<int64_t> megatron_blend_sizes(const std::vector<double>& weights, int64_t num_samples);

/// The order in which Megatron-core trains on one data set, or on several by weight.
class MegatronOrder {
 public:
  /// sequence_starts of each data set; num_samples of the whole run, which the order depends on. Throws Error for a
  /// seed that does not fit 32 bits.
  MegatronOrder(std::vector<std::vector<int64_t>> sequence_starts, std::vector<double> weights, int64_t seq_len,
                int64_t num_samples, int64_t seed);

  /// Throws Error for a sample that is not below num_samples.
  Sample sample(int64_t global_sample) const;
  /// Whether a run of so many samples has these samples in this order, as far as both go.
  bool has_order_of(int64_t num_samples) const;
  const MegatronSamples& source(int64_t index) const { return sources_[static_cast<size_t>(index)]; }

 private:
  int64_t num_samples_;
  std::vector<double> weights_;  // summing to 1
  std::vector<MegatronSamples> sources_;
  std::vector<std::pair<int32_t, int64_t>> turns_;  // of a blend
};

}  // namespace artel
