#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/schema.h"
#include "core/context.h"
#include "nn/parameter.h"

// Shapes: T tokens · d hidden_size · N experts · E neurons of a group · r width of AoE's cached activations.

namespace artel {

/// L2 norms of what every expert does with every token, [T, N] each.
struct ExpertNorms {
  std::vector<double> gate_activation;  ///< of SiLU(gate) over all neurons of the expert
  std::vector<double> activation;       ///< of SiLU(gate) · up over all neurons
  std::vector<double> output;           ///< of the expert's unweighted output
  std::vector<double> rest;             ///< of SiLU(gate) over the neurons that do not bid; empty but for UoE
};

enum class SharedKind : std::uint8_t { none, real, virtual_expert };

/// Runs every expert of a layer on every token, whatever was chosen: what routing avoids, done to judge it. Finds the
/// weights by their stored names, and so knows nothing of how a method lays them out. Views an f32 store, which must
/// outlive it.
class DenseExperts {
 public:
  /// Errors: a store that is not f32, or that lacks an expert's weights.
  DenseExperts(const ModelConfig& model, const ParameterStore& store);

  /// x [T, d] f32, the input of the layer's experts.
  ExpertNorms norms(Context& context, std::int64_t layer, const Tensor& x) const;

  /// What every token gets whatever it chose: a real shared expert, or UoE's virtual one (all routing neurons of all
  /// experts, unweighted).
  SharedKind shared_kind() const { return shared_kind_; }
  /// Its part [T, d] of the layer's output for x [T, d] f32. Errors: there is none.
  Tensor shared_output(Context& context, std::int64_t layer, const Tensor& x) const;
  /// Sets the weights behind that part to zero in the store that is viewed.
  void silence_shared(Context& context) const;

 private:
  /// Neurons that lie together in memory.
  struct NeuronGroup {
    Tensor gate;  ///< [E, d], or [E, r] behind gate_down
    Tensor up;    ///< [E, d]
    Tensor down;  ///< [d, E]
  };
  struct Expert {
    Tensor gate_down;  ///< [r, d] (AoE) or undefined
    std::vector<NeuronGroup> groups;
  };

  /// The groups behind the shared part of a layer's output.
  std::vector<NeuronGroup> shared_groups(std::int64_t layer) const;

  std::int64_t num_layers_;
  std::int64_t num_experts_;
  bool first_group_bids_;
  SharedKind shared_kind_ = SharedKind::none;
  std::vector<Expert> experts_;      ///< [L · N]
  std::vector<NeuronGroup> shared_;  ///< [L] real ones, or none
};

}  // namespace artel
