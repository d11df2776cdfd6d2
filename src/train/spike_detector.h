#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "config/schema.h"
#include "util/json.h"

namespace artel {

/// A value far above those of the steps before it.
struct Spike {
  std::string quantity;  ///< "loss" or "grad_norm"
  double value = 0.0;
  double mean = 0.0;  ///< of the window
  double standard_deviation = 0.0;
  double z_score = 0.0;
};

/// Finds spikes of the loss and of the gradient's norm: values more than train.spike_z_score standard deviations above
/// the mean of the last train.spike_window steps. No verdict before half of the window is filled.
///
/// A spike enters the window as mean + spike_z_score standard deviations: one spike does not hide the next, and a level
/// that stays becomes the new normal within some dozens of steps, so that skipping steps comes to an end by itself.
class SpikeDetector {
 public:
  explicit SpikeDetector(const TrainConfig& config) : window_(config.spike_window), z_score_(config.spike_z_score) {}

  /// Judges a step by its finite loss and norm and takes them into the window. At most one spike of each quantity.
  std::vector<Spike> judge(double loss, double grad_norm);

  /// The windows, for the checkpoint: a resumed run judges as one that was not interrupted.
  Json state() const;
  /// Takes the newest values of a state, as many as the window holds; an absent state is an empty window.
  void restore(const Json& state, const std::string& where);

 private:
  struct Quantity {
    const char* name;
    std::deque<double> values;
  };

  void judge_one(Quantity& quantity, double value, std::vector<Spike>& spikes) const;

  std::int64_t window_;
  double z_score_;
  Quantity loss_{"loss", {}};
  Quantity grad_norm_{"grad_norm", {}};
};

}  // namespace artel
