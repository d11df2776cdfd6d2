#pragma once

#include <cstdint>
#include <vector>

#include "core/context.h"
#include "inspect/choice_counter.h"
#include "inspect/dense_experts.h"
#include "model/transformer.h"
#include "report/routing_inspection.h"

// Shapes: n sampled tokens of the batch · d hidden_size · N experts.

namespace artel {

/// Some tokens on which every expert of every layer is run, to see how well the scores order the experts by what they
/// would do, and how much of the output every token gets alike.
class ScoreSample {
 public:
  ScoreSample(Context& context, Transformer& model);

  /// Takes `count` (at most all) of the next batch's tokens, evenly spread.
  void choose(std::int64_t num_tokens, std::int64_t count);
  /// Keeps the sampled rows of a layer's input x [T, d], probs [T, N] and output y [T, d].
  void on_routing(std::int64_t layer, const Tensor& x, const Tensor& probs, const HostChoices& choices);
  void on_output(std::int64_t layer, const Tensor& y);
  /// Runs the experts on what was kept since choose().
  void evaluate();

  std::int64_t num_tokens() const { return num_tokens_; }
  /// Fills the agreements and the shared contribution of a layer.
  void finish(LayerInspection& layer) const;

 private:
  struct Kept {
    Tensor x;                                       ///< [n, d]
    Tensor y;                                       ///< [n, d]
    std::vector<float> probs;                       ///< [n, N]
    std::vector<std::vector<std::int32_t>> chosen;  ///< [n]
  };
  struct Target {
    std::vector<double> correlations;  ///< of tokens that have one
    double num_chosen = 0.0;
    double num_strongest = 0.0;  ///< chosen ones among the strongest
  };
  struct Layer {
    std::vector<Target> targets;
    double shared = 0.0;  ///< sums of norms
    double other = 0.0;
    double output = 0.0;
  };

  void evaluate_layer(std::int64_t layer);
  void add_target(Target& target, const Kept& kept, const std::vector<double>& norms) const;
  void add_shared(Layer& layer, std::int64_t index);

  Context& context_;
  std::int64_t num_experts_;
  DenseExperts experts_;
  std::vector<std::int32_t> rows_;  ///< sampled tokens of the batch
  Tensor index_;                    ///< the same on the device
  std::vector<Kept> kept_;          ///< [L]
  std::vector<Layer> layers_;
  std::int64_t num_tokens_ = 0;
};

}  // namespace artel
