#include "kernels/checks/swiglu.h"

#include "kernels/checks/checks.h"
#include "util/error.h"

namespace artel {
namespace {

/// Checks gate_up and weights; returns the type.
DType check_inputs(const char* op, In gate_up, In weights) {
  check_rank(op, "gate_up", gate_up, 3);
  const DType act = check_act(op, "gate_up", gate_up);
  check_dense(op, "gate_up", gate_up, {gate_up.size(0), 2, gate_up.size(2)}, act);
  if (weights.defined()) check_dense(op, "weights", weights, {gate_up.size(0)}, DType::f32);
  return act;
}

}  // namespace

void check_swiglu(In gate_up, In weights, Out hidden) {
  const DType act = check_inputs("swiglu", gate_up, weights);
  check_dense("swiglu", "hidden", hidden, {gate_up.size(0), gate_up.size(2)}, act);
}

void check_swiglu_backward(In gate_up, In weights, In dhidden, Out dgate_up, Out dweights) {
  const char* const op = "swiglu_backward";
  const DType act = check_inputs(op, gate_up, weights);
  check_dense(op, "dhidden", dhidden, {gate_up.size(0), gate_up.size(2)}, act);
  check_dense(op, "dgate_up", dgate_up, gate_up.shape(), act);
  if (weights.defined()) {
    check_dense(op, "dweights", dweights, {gate_up.size(0)}, DType::f32);
  } else if (dweights.defined()) {
    fail(op, "required dweights undefined like weights, found one of shape " + dweights.shape().to_string());
  }
  if (dgate_up.same_data(gate_up)) fail(op, "required dgate_up apart from gate_up, found the same memory");
}

}  // namespace artel
