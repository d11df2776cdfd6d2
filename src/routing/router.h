#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "config/schema.h"
#include "nn/grouped_experts.h"
#include "routing/auxiliary.h"

// The contract between a routing method and the MoE layer; docs/adding_a_router.md walks through a whole method.
// Shapes: T tokens of this micro-batch on this rank · d hidden_size · N experts · A assignments (T·K when K is fixed) ·
//         R width of the travelling rows.

namespace artel {

/// What a method may look at. Gradients flow back through x only.
struct RouteInput {
  Variable x;             ///< [T, d], normalised input of the layer
  Tensor token_ids;       ///< [T] i32
  std::int64_t step = 0;  ///< 1 for the first
  std::int64_t sequence_length = 0;
  std::int64_t tokens_per_step = 0;         ///< over all ranks and micro-batches of the optimizer step
  bool training = false;                    ///< false: no auxiliary losses
  const GroupedExperts* experts = nullptr;  ///< the experts that the choices are for
};

/// What a method decides.
struct Routing {
  Tensor expert_ids;     ///< [A] i32 in [0, N), slots in token order, no expert twice for a token
  Variable weights;      ///< [A] f32
  Tensor token_offsets;  ///< [T + 1] i32: slots of token t are token_offsets[t] .. token_offsets[t + 1]
  Tensor probs;          ///< [T, N] f32, each row a distribution
  Variable travelling;   ///< [A, R] act in slot order: goes with every row to its expert; or undefined
  Variable side_input;   ///< the method's own, for side_output; or undefined
};

/// How many assignments every expert got in an optimizer step, over all ranks and micro-batches.
struct StepStatistics {
  std::vector<std::int64_t> expert_counts;  ///< [N]
};

/// A tensor that a method keeps between steps and that no gradient trains; f32, checkpointed under `name`.
struct RouterState {
  std::string name;
  Tensor tensor;
};

/// One routing method in one layer.
class Router {
 public:
  explicit Router(const AuxiliaryOptions& auxiliary) : auxiliary_(auxiliary) {}
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;
  virtual ~Router() = default;

  /// What this method asks of the experts: widths and who owns which neurons (prefix and rank are filled in by the
  /// layer).
  virtual ExpertOptions expert_options() const = 0;
  virtual Routing route(Context& context, const RouteInput& input) = 0;
  /// Part of the layer's output that needs no expert; runs while rows travel. [T, d] or undefined.
  virtual Variable side_output(Context&, const Routing&) { return {}; }
  /// The only place where untrained state changes; called once per optimizer step with global statistics.
  virtual void after_step(Context&, const StepStatistics&) {}
  virtual void allocate_state(Context&) {}
  virtual std::vector<RouterState> state() const { return {}; }

  AuxiliaryLosses& auxiliary() { return auxiliary_; }

 protected:
  /// [T + 1] i32: t·K.
  const Tensor& fixed_token_offsets(Context& context, std::int64_t num_tokens, std::int64_t top_k);
  /// The auxiliary losses of a decision with fixed K, for route_top_k and uoe_bids.
  AuxiliaryFunction auxiliary_function(Context& context, const RouteInput& input, std::int64_t top_k);

 private:
  AuxiliaryLosses auxiliary_;
  Tensor token_offsets_;
};

/// Everything that a method needs to build itself for one layer.
struct RouterSetup {
  const ModelConfig& model;
  std::int64_t layer = 0;
  std::string prefix;  ///< of stored names: "model.layers.{l}.mlp."
  ParameterStore& store;
  Communicator& world;
  Communicator* expert_group = nullptr;  ///< the ranks that share out the experts; none: all experts are here
};

using RouterFactory = std::function<std::unique_ptr<Router>(const RouterSetup&)>;

/// Builds the method named by model.routing.type. Errors: an unknown name, with the nearest known one.
std::unique_ptr<Router> make_router(const RouterSetup& setup);
/// The names that make_router knows.
std::vector<std::string> router_names();

TopKOptions top_k_options(const ModelConfig& model);

std::unique_ptr<Router> make_softmax_router(const RouterSetup& setup);
std::unique_ptr<Router> make_uoe_router(const RouterSetup& setup);
std::unique_ptr<Router> make_aoe_router(const RouterSetup& setup);

}  // namespace artel
