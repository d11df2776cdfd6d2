#pragma once

#include <cstdint>
#include <vector>

#include "core/rng.h"

namespace artel {

/// A keyed bijection of [0, n), computed for any element without a table: a balanced Feistel network over the next
/// power of four, walked along its cycles back into the range. Black and Rogaway, "Ciphers with arbitrary finite
/// domains", CT-RSA 2002.
class Permutation {
 public:
  /// n >= 1.
  Permutation(int64_t n, Rng key);
  /// The image of `index`, 0 <= index < n.
  int64_t operator()(int64_t index) const;

 private:
  uint64_t encipher(uint64_t value) const;

  uint64_t n_;
  int half_bits_;
  Rng key_;
};

/// Which source the g-th sample comes from, in the proportion of the weights: always the source that is furthest behind
/// its share w_d (g + 1) - count_d, the first among equals. The shares are fractions of a period of at most 65536
/// samples, exact where the weights allow it and else rounded to 1/65536; after each period every source has its exact
/// share. So any g is answered from a table of one period, without a state to carry.
class Blend {
 public:
  /// weights > 0, finite, one per source. Throws Error naming a weight that is not, or that is below 1/65536 of the
  /// sum.
  explicit Blend(const std::vector<double>& weights);

  struct Turn {
    int32_t source;
    int64_t ordinal;  ///< how many samples before this one came from the same source
  };
  Turn turn(int64_t global_sample) const;

  /// Samples after which the order of the sources repeats.
  int64_t period() const { return static_cast<int64_t>(turns_.size()); }

 private:
  std::vector<int64_t> shares_;  // samples of each source in a period
  std::vector<Turn> turns_;      // one period
};

/// One training sample: window `window` of source `source`, met in that source's epoch `epoch`.
struct Sample {
  int32_t source = 0;
  int64_t epoch = 0;
  int64_t window = 0;
  bool operator==(const Sample&) const = default;
};

/// The order of samples: a function of the seed, the weights and the global sample index alone, never of ranks, threads
/// or what was read before; so resuming needs no state but the index. Within a source each epoch is a keyed permutation
/// of its windows (key: seed, source index, epoch), and every window is met once per epoch.
class Sampler {
 public:
  /// num_windows[d] >= 1 and weights[d] > 0 for each source d. Throws Error otherwise.
  Sampler(std::vector<int64_t> num_windows, const std::vector<double>& weights, uint64_t seed);

  /// global_sample >= 0.
  Sample sample(int64_t global_sample) const;

 private:
  std::vector<int64_t> num_windows_;
  Blend blend_;
  uint64_t seed_;
};

}  // namespace artel
