#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/layers.h"
#include "nn/token_dispatcher.h"
#include "routing/router.h"

// Shapes: T tokens · d hidden_size · N experts · A assignments.

namespace artel {

/// Routing of one layer over an optimizer step on this rank.
struct LayerStatistics {
  std::vector<std::int64_t> expert_counts;  ///< [N] assignments
  AuxiliaryValues auxiliary;
};

/// Router, dispatcher, experts and, with a method that wants one, a real shared expert.
/// Stands in model/, not nn/, because it needs the routing contract, which itself needs nn/.
class MoeLayer {
 public:
  MoeLayer(const RouterSetup& setup, const RouterFactory& factory);

  /// y [T, d] for input.x [T, d].
  Variable forward(Context& context, RouteInput input);

  Router& router() { return *router_; }
  /// Statistics since the last call, of training passes only.
  LayerStatistics take_statistics(Context& context);

 private:
  std::shared_ptr<const DispatchPlan> make_plan(Context& context, const Routing& routing, bool training);

  std::int64_t num_experts_;
  std::unique_ptr<Router> router_;
  std::optional<GroupedExperts> experts_;
  std::optional<Mlp> shared_expert_;
  std::unique_ptr<TokenDispatcher> dispatcher_;
  std::vector<std::int64_t> expert_counts_;
};

}  // namespace artel
