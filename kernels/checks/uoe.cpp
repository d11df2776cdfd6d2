#include "kernels/checks/uoe.h"

#include "kernels/checks/checks.h"
#include "kernels/checks/routing.h"
#include "util/error.h"

namespace artel {
namespace {

BidShape check_inputs(const char* op, In gate_up, const BidOptions& options) {
  check_rank(op, "gate_up", gate_up, 4);
  const BidShape shape{gate_up.size(0), gate_up.size(1), gate_up.size(3), check_act(op, "gate_up", gate_up)};
  check_dense(op, "gate_up", gate_up, {shape.num_tokens, shape.num_experts, 2, shape.num_neurons}, shape.act);
  if (!options.virtual_shared_expert && !options.routed_includes_routing_neurons) {
    fail(op, "required virtual_shared_expert or routed_includes_routing_neurons, found neither");
  }
  return shape;
}

Shape hidden_shape(const BidShape& shape) {
  return {shape.num_tokens, shape.num_experts * shape.num_neurons};
}

}  // namespace

BidShape check_uoe_bids(In gate_up, const BidOptions& options, In bids, In probs, In lse, In ids, In weights,
                        In hidden) {
  const char* const op = "uoe_bids";
  const BidShape shape = check_inputs(op, gate_up, options);
  check_top_k(op, shape.num_tokens, shape.num_experts, options.top_k, probs, lse, ids, weights);
  check_dense(op, "bids", bids, {shape.num_tokens, shape.num_experts}, DType::f32);
  check_dense(op, "hidden", hidden, hidden_shape(shape), shape.act);
  return shape;
}

BidShape check_uoe_bids_backward(In gate_up, In bids, In probs, In lse, In ids, In weights, In dweights, In dhidden,
                                 const BidOptions& options, const AuxiliaryGradient& auxiliary, In dgate_up) {
  const char* const op = "uoe_bids_backward";
  const BidShape shape = check_inputs(op, gate_up, options);
  check_top_k_gradient(op, shape.num_tokens, shape.num_experts, options.top_k, probs, lse, ids, weights, dweights,
                       auxiliary);
  check_dense(op, "bids", bids, {shape.num_tokens, shape.num_experts}, DType::f32);
  check_dense(op, "dhidden", dhidden, hidden_shape(shape), shape.act);
  check_dense(op, "dgate_up", dgate_up, gate_up.shape(), shape.act);
  if (dgate_up.same_data(gate_up)) fail(op, "required dgate_up apart from gate_up, found the same memory");
  return shape;
}

}  // namespace artel
