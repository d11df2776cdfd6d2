#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/layers.h"
#include "nn/token_dispatcher.h"
#include "ops/read_back.h"
#include "routing/router.h"

// Shapes: T tokens · d hidden_size · N experts · A assignments.

namespace artel {

/// How decided a layer's choices were: sums over the tokens of an optimizer step on this rank.
struct ChoiceStatistics {
  double entropy = 0.0;  ///< of the token's probabilities, in nats
  double margin = 0.0;   ///< least probability chosen less the largest not chosen
  std::int64_t num_tokens = 0;
};

/// Routing of one layer over an optimizer step on this rank.
struct LayerStatistics {
  std::vector<std::int64_t> expert_counts;  ///< [N] assignments
  AuxiliaryValues auxiliary;
  ChoiceStatistics choice;
};

/// What one pass leaves of a layer's choices, on its way to the host.
struct NotedChoices {
  ReadBack<double> sums;  ///< entropies and margins
  std::int64_t num_tokens;
};

/// Statistics of one layer whose figures may still be on their way to the host.
struct NotedStatistics {
  std::vector<std::int64_t> expert_counts;  ///< [N] assignments
  std::vector<NotedLosses> losses;
  std::vector<NotedChoices> choices;

  /// Waits for them.
  LayerStatistics values();
};

/// Those of all layers.
std::vector<LayerStatistics> layer_statistics(std::vector<NotedStatistics> layers);

/// Looks at what the MoE layers of a pass decide and compute; takes no part in it.
class RoutingObserver {
 public:
  RoutingObserver() = default;
  RoutingObserver(const RoutingObserver&) = delete;
  RoutingObserver& operator=(const RoutingObserver&) = delete;
  virtual ~RoutingObserver() = default;

  /// The layer's input x [T, d] and what the method decided; expert i got
  /// expert_offsets[i] .. expert_offsets[i + 1] of the assignments.
  virtual void on_routing(std::int64_t /*layer*/, const Tensor& /*x*/, const Routing& /*routing*/,
                          const std::vector<std::int32_t>& /*expert_offsets*/) {}
  /// The layer's output y [T, d].
  virtual void on_output(std::int64_t /*layer*/, const Tensor& /*y*/) {}
};

/// Router, dispatcher, experts and, with a method that wants one, a real shared expert.
/// Stands in model/, not nn/, because it needs the routing contract, which itself needs nn/.
class MoeLayer {
 public:
  MoeLayer(const RouterSetup& setup, const RouterFactory& factory);

  /// y [T, d] for input.x [T, d]; `observer` may be null.
  Variable forward(Context& context, RouteInput input, RoutingObserver* observer = nullptr);

  Router& router() { return *router_; }
  /// Of the training passes since the last call.
  NotedStatistics take_statistics();

 private:
  std::shared_ptr<const DispatchPlan> make_plan(Context& context, const Routing& routing);
  void count_assignments(const DispatchPlan& plan);
  void note_choices(Context& context, const Routing& routing);

  std::int64_t layer_;
  std::int64_t num_experts_;
  std::unique_ptr<Router> router_;
  std::optional<GroupedExperts> experts_;
  std::optional<Mlp> shared_expert_;
  std::unique_ptr<TokenDispatcher> dispatcher_;
  std::vector<std::int64_t> expert_counts_;
  std::vector<NotedChoices> noted_choices_;
};

}  // namespace artel
