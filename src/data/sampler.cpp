#include "data/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr int64_t max_period = 65536;
constexpr int num_rounds = 6;

// Whole shares of `period` when each weight is a multiple of 1/period of the sum up to rounding; empty otherwise.
std::vector<int64_t> exact_shares(const std::vector<double>& weights, double sum, int64_t period) {
  std::vector<int64_t> shares;
  for (const double weight : weights) {
    const double share = weight / sum * static_cast<double>(period);
    const double whole = std::round(share);
    if (whole < 1.0 || std::abs(share - whole) > 1e-9 * whole) return {};
    shares.push_back(static_cast<int64_t>(whole));
  }
  const bool complete = std::accumulate(shares.begin(), shares.end(), int64_t{0}) == period;
  return complete ? shares : std::vector<int64_t>{};
}

// Largest remainders: every share within 1 of its exact value, their sum max_period.
std::vector<int64_t> rounded_shares(const std::vector<double>& weights, double sum) {
  std::vector<int64_t> shares;
  std::vector<double> remainders;
  for (const double weight : weights) {
    const double share = weight / sum * static_cast<double>(max_period);
    shares.push_back(static_cast<int64_t>(share));
    remainders.push_back(share - std::floor(share));
  }
  for (int64_t left = max_period - std::accumulate(shares.begin(), shares.end(), int64_t{0}); left > 0; --left) {
    const auto largest =
        static_cast<size_t>(std::max_element(remainders.begin(), remainders.end()) - remainders.begin());
    ++shares[largest];
    remainders[largest] = -1.0;
  }
  return shares;
}

std::vector<int64_t> shares_of(const std::vector<double>& weights) {
  if (weights.empty()) fail("data", "data.train required at least one file, found none");
  double sum = 0.0;
  for (const double weight : weights) {
    if (!(weight > 0.0) || !std::isfinite(weight)) {
      fail("data", concat("weight required a positive number, found ", weight, "; remove the file to leave it out"));
    }
    sum += weight;
  }
  if (!std::isfinite(sum)) fail("data", "weights required a finite sum, found one beyond the largest number");
  for (const double weight : weights) {
    if (weight / sum * static_cast<double>(max_period) < 1.0) {
      fail("data",
           concat("weight required at least 1/", max_period, " of the sum ", sum, " of all weights, found ", weight));
    }
  }
  for (int64_t period = 1; period <= max_period; ++period) {
    std::vector<int64_t> shares = exact_shares(weights, sum, period);
    if (!shares.empty()) return shares;
  }
  return rounded_shares(weights, sum);
}

}  // namespace

Permutation::Permutation(int64_t n, Rng key)
    : n_(static_cast<uint64_t>(n)), half_bits_((static_cast<int>(std::bit_width(n_ - 1)) + 1) / 2), key_(key) {}

uint64_t Permutation::encipher(uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_;
  uint64_t right = value & mask;
  for (uint64_t round = 0; round < num_rounds; ++round) {
    const uint64_t mixed = left ^ (key_.block(round << 32 | right)[0] & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

int64_t Permutation::operator()(int64_t index) const {
  if (n_ <= 1) return 0;
  uint64_t value = encipher(static_cast<uint64_t>(index));
  while (value >= n_) value = encipher(value);
  return static_cast<int64_t>(value);
}

Blend::Blend(const std::vector<double>& weights) : shares_(shares_of(weights)) {
  const int64_t period = std::accumulate(shares_.begin(), shares_.end(), int64_t{0});
  std::vector<int64_t> behind(shares_.size(), 0), counts(shares_.size(), 0);  // behind: in units of 1/period sample
  turns_.reserve(static_cast<size_t>(period));
  for (int64_t g = 0; g < period; ++g) {
    for (size_t d = 0; d < shares_.size(); ++d) behind[d] += shares_[d];
    const auto chosen = static_cast<size_t>(std::max_element(behind.begin(), behind.end()) - behind.begin());
    behind[chosen] -= period;
    turns_.push_back({static_cast<int32_t>(chosen), counts[chosen]++});
  }
}

Blend::Turn Blend::turn(int64_t global_sample) const {
  Turn turn = turns_[static_cast<size_t>(global_sample % period())];
  turn.ordinal += global_sample / period() * shares_[static_cast<size_t>(turn.source)];
  return turn;
}

Sampler::Sampler(std::vector<int64_t> num_windows, const std::vector<double>& weights, uint64_t seed)
    : num_windows_(std::move(num_windows)), blend_(weights), seed_(seed) {
  if (num_windows_.size() != weights.size()) {
    fail("data", concat("required one weight per source, found ", weights.size(), " for ", num_windows_.size()));
  }
  for (const int64_t count : num_windows_) {
    if (count < 1) fail("data", concat("required a source of at least 1 window, found ", count));
  }
}

Sample Sampler::sample(int64_t global_sample) const {
  if (global_sample < 0) fail("data", concat("sample index required 0 or more, found ", global_sample));
  const Blend::Turn turn = blend_.turn(global_sample);
  const int64_t count = num_windows_[static_cast<size_t>(turn.source)];
  const int64_t epoch = turn.ordinal / count;
  const Permutation permutation(count, Rng(seed_, concat("data.source.", turn.source, ".epoch.", epoch)));
  return {turn.source, epoch, permutation(turn.ordinal % count)};
}

}  // namespace artel
