#include "data/megatron_order.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include "util/error.h"
#include "util/text.h"

namespace artel {

uint64_t LegacyShuffle::draw(uint64_t most) {
  const uint64_t mask = std::bit_ceil(most + 1) - 1;
  while (true) {
    const uint64_t word = words_();
    const uint64_t value = (mask > std::numeric_limits<uint32_t>::max() ? word << 32 | words_() : word) & mask;
    if (value <= most) return value;
  }
}

MegatronSamples::MegatronSamples(std::vector<int64_t> sequence_starts, int64_t seq_len, int64_t num_samples,
                                 uint32_t seed)
    : sequence_starts_(std::move(sequence_starts)), seq_len_(seq_len), num_samples_(num_samples) {
  const int64_t tokens = sequence_starts_.back();
  const auto num_sequences = static_cast<int64_t>(sequence_starts_.size()) - 1;
  if (num_sequences > std::numeric_limits<int32_t>::max()) {
    fail("data", concat("data.order: megatron required at most 2147483647 sequences, found ", num_sequences));
  }
  if (tokens <= seq_len) {
    fail("data", concat("data.order: megatron required at least ", seq_len + 1, " ids, found ", tokens));
  }
  const auto [num_epochs, apart] = epochs_of(num_samples);
  const int64_t num_windows = (num_epochs * tokens - 1) / seq_len;
  if (num_windows >= std::numeric_limits<uint32_t>::max()) {
    fail("data", concat("data.order: megatron required fewer than 4294967295 windows, found ", num_windows));
  }
  LegacyShuffle shuffle(seed);
  shuffle_sequences(num_epochs, apart, shuffle);
  cut_windows(num_windows);
  shuffled_.resize(static_cast<size_t>(num_windows));
  std::iota(shuffled_.begin(), shuffled_.end(), 0U);
  const int64_t together = apart ? ((num_epochs - 1) * tokens - 1) / seq_len : num_windows;
  shuffle.shuffle(shuffled_.data(), together);
  if (together < num_windows) shuffle.shuffle(shuffled_.data() + together, num_windows - together);
}

MegatronEpochs MegatronSamples::epochs_of(int64_t num_samples) const {
  const int64_t tokens = sequence_starts_.back();
  // As many as hold the samples and the one id that the last window has beyond them.
  const int64_t count = (num_samples * seq_len_ + 1 + tokens - 1) / tokens;
  // The last one is shuffled with the others unless little of it is needed.
  const int64_t before_last = ((count - 1) * tokens - 1) / seq_len_;
  const int64_t windows_per_epoch = (tokens - 1) / seq_len_;
  const auto enough = static_cast<int64_t>(0.80 * static_cast<double>(windows_per_epoch));
  return {count, count > 1 && num_samples - before_last < enough};
}

void MegatronSamples::shuffle_sequences(int64_t num_epochs, bool apart, LegacyShuffle& shuffle) {
  const size_t per_epoch = sequence_starts_.size() - 1;
  sequences_.resize(per_epoch * static_cast<size_t>(num_epochs));
  for (size_t i = 0; i < sequences_.size(); ++i) sequences_[i] = static_cast<int32_t>(i % per_epoch);
  const size_t together = apart ? sequences_.size() - per_epoch : sequences_.size();
  shuffle.shuffle(sequences_.data(), static_cast<int64_t>(together));
  if (apart) shuffle.shuffle(sequences_.data() + together, static_cast<int64_t>(per_epoch));
}

int64_t MegatronSamples::length(int64_t index) const {
  const auto sequence = static_cast<size_t>(sequences_[static_cast<size_t>(index)]);
  return sequence_starts_[sequence + 1] - sequence_starts_[sequence];
}

void MegatronSamples::cut_windows(int64_t num_windows) {
  windows_.reserve(static_cast<size_t>(num_windows) + 1);
  windows_.emplace_back(0, 0);
  int64_t index = 0, offset = 0;
  for (int64_t window = 0; window < num_windows; ++window) {
    // The id that begins the next window is the last of this one.
    int64_t left = seq_len_ + 1;
    while (true) {
      const int64_t rest = length(index) - offset;
      if (left <= rest) break;
      left -= rest;
      ++index;
      offset = 0;
    }
    offset += left - 1;
    windows_.emplace_back(index, static_cast<int32_t>(offset));
  }
}

void MegatronSamples::for_each_run(int64_t window, const std::function<void(int64_t, int64_t)>& read) const {
  auto [index, offset] = windows_[static_cast<size_t>(window)];
  int64_t left = seq_len_ + 1;
  for (int64_t from = offset; left > 0; from = 0, ++index) {
    const int64_t count = std::min(left, length(index) - from);
    if (count > 0) read(sequence_starts_[static_cast<size_t>(sequences_[static_cast<size_t>(index)])] + from, count);
    left -= count;
  }
}

std::vector<std::pair<int32_t, int64_t>> megatron_blend(const std::vector<double>& weights, int64_t size) {
  std::vector<std::pair<int32_t, int64_t>> turns;
  turns.reserve(static_cast<size_t>(size));
  std::vector<int64_t> counts(weights.size(), 0);
  for (int64_t i = 0; i < size; ++i) {
    const auto position = static_cast<double>(std::max<int64_t>(i, 1));
    size_t chosen = 0;
    double most = weights[0] * position - static_cast<double>(counts[0]);
    for (size_t d = 1; d < weights.size(); ++d) {
      const double behind = weights[d] * position - static_cast<double>(counts[d]);
      if (behind > most) {
        most = behind;
        chosen = d;
      }
    }
    turns.emplace_back(static_cast<int32_t>(chosen), counts[chosen]++);
  }
  return turns;
}

std::vector<int64_t> megatron_blend_sizes(const std::vector<double>& weights, int64_t num_samples) {
  std::vector<int64_t> sizes;
  for (const double weight : weights) {
    sizes.push_back(static_cast<int64_t>(std::ceil(std::ceil(static_cast<double>(num_samples) * weight) * 1.005)));
  }
  return sizes;
}

MegatronOrder::MegatronOrder(std::vector<std::vector<int64_t>> sequence_starts, std::vector<double> weights,
                             int64_t seq_len, int64_t num_samples, int64_t seed)
    : num_samples_(num_samples), weights_(std::move(weights)) {
  if (seed < 0 || seed > std::numeric_limits<uint32_t>::max()) {
    fail("data", concat("data.order: megatron required run.seed from 0 to 4294967295, found ", seed));
  }
  std::vector<int64_t> sizes = {num_samples};
  const double sum = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  for (double& weight : weights_) weight /= sum;
  if (weights_.size() > 1) {
    sizes = megatron_blend_sizes(weights_, num_samples);
    turns_ = megatron_blend(weights_, num_samples);
  }
  for (size_t i = 0; i < sequence_starts.size(); ++i) {
    sources_.emplace_back(std::move(sequence_starts[i]), seq_len, sizes[i], static_cast<uint32_t>(seed));
  }
}

// The blend takes its turns one after the other, whatever their number.
bool MegatronOrder::has_order_of(int64_t num_samples) const {
  std::vector<int64_t> sizes = {num_samples};
  if (weights_.size() > 1) sizes = megatron_blend_sizes(weights_, num_samples);
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (!sources_[i].has_order_of(sizes[i])) return false;
  }
  return true;
}

Sample MegatronOrder::sample(int64_t global_sample) const {
  if (global_sample < 0 || global_sample >= num_samples_) {
    fail("data", concat("data.order: megatron required a sample below the ", num_samples_, " of the run, found ",
                        global_sample));
  }
  int32_t source = 0;
  int64_t ordinal = global_sample;
  if (!turns_.empty()) std::tie(source, ordinal) = turns_[static_cast<size_t>(global_sample)];
  return {source, 0, sources_[static_cast<size_t>(source)].window(ordinal)};
}

}  // namespace artel
