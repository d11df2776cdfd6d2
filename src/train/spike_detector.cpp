#include "train/spike_detector.h"

#include <algorithm>
#include <cmath>

#include "util/text.h"

namespace artel {
namespace {

// Values that hardly differ, as in a test of a few steps on one batch, would make a spike of every rounding.
constexpr double smallest_relative_deviation = 1.0e-3;

struct Moments {
  double mean = 0.0;
  double standard_deviation = 0.0;
};

// Anew for every step: a window is short, and running sums would drift and differ after a resume.
Moments moments_of(const std::deque<double>& values) {
  Moments moments;
  const auto count = static_cast<double>(values.size());
  for (const double value : values) moments.mean += value / count;
  double variance = 0.0;
  for (const double value : values) variance += (value - moments.mean) * (value - moments.mean) / (count - 1.0);
  moments.standard_deviation = std::max(std::sqrt(variance), smallest_relative_deviation * std::abs(moments.mean));
  return moments;
}

}  // namespace

void SpikeDetector::judge_one(Quantity& quantity, double value, std::vector<Spike>& spikes) const {
  double taken = value;
  if (static_cast<std::int64_t>(quantity.values.size()) >= std::max<std::int64_t>(2, window_ / 2)) {
    const Moments moments = moments_of(quantity.values);
    const double limit = moments.mean + z_score_ * moments.standard_deviation;
    if (value > limit) {
      const double z_score = (value - moments.mean) / moments.standard_deviation;
      spikes.push_back({quantity.name, value, moments.mean, moments.standard_deviation, z_score});
      taken = limit;
    }
  }
  quantity.values.push_back(taken);
  while (static_cast<std::int64_t>(quantity.values.size()) > window_) quantity.values.pop_front();
}

std::vector<Spike> SpikeDetector::judge(double loss, double grad_norm) {
  std::vector<Spike> spikes;
  if (window_ == 0) return spikes;
  judge_one(loss_, loss, spikes);
  judge_one(grad_norm_, grad_norm, spikes);
  return spikes;
}

Json SpikeDetector::state() const {
  Json state = Json::object();
  for (const Quantity* quantity : {&loss_, &grad_norm_}) state[quantity->name] = quantity->values;
  return state;
}

void SpikeDetector::restore(const Json& state, const std::string& where) {
  for (Quantity* quantity : {&loss_, &grad_norm_}) {
    quantity->values.clear();
    if (!state.contains(quantity->name)) continue;
    for (const Json& value : state[quantity->name]) {
      if (!value.is_number()) fail("checkpoint", concat(where, ": required numbers in trainer.spikes, found others"));
      quantity->values.push_back(value.get<double>());
    }
    while (static_cast<std::int64_t>(quantity->values.size()) > window_) quantity->values.pop_front();
  }
}

}  // namespace artel
