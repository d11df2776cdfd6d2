#include "kernels/cpu/rows/uoe.h"
#include "kernels/checks/checks.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/routing.h"
#include "kernels/cpu/tasks.h"
#include "util/error.h"

namespace artel {
namespace {

struct BidShape {
  std::int64_t num_tokens = 0;   // T
  std::int64_t num_experts = 0;  // N
  std::int64_t num_neurons = 0;  // S
  DType act = DType::f32;

  Shape hidden() const { return {num_tokens, num_experts * num_neurons}; }
  std::int64_t tokens_per_task() const { return rows_per_task(num_experts * 2 * num_neurons); }
};

BidShape check_inputs(const char* op, In gate_up, const BidOptions& options) {
  check_rank(op, "gate_up", gate_up, 4);
  const BidShape shape{gate_up.size(0), gate_up.size(1), gate_up.size(3), check_act(op, "gate_up", gate_up)};
  check_dense(op, "gate_up", gate_up, {shape.num_tokens, shape.num_experts, 2, shape.num_neurons}, shape.act);
  if (!options.virtual_shared_expert && !options.routed_includes_routing_neurons) {
    fail(op, "required virtual_shared_expert or routed_includes_routing_neurons, found neither");
  }
  return shape;
}

/// allocate(slot, size): that many floats.
template <class Allocate>
cpu::BidsScratch bids_scratch(const BidShape& shape, const Allocate& allocate) {
  const std::int64_t neurons = cpu::whole_vectors_of_any(shape.num_experts * shape.num_neurons) + 16;
  const std::int64_t experts = cpu::whole_vectors_of_any(shape.num_experts);
  return {{allocate(0, neurons), allocate(1, neurons)},
          {allocate(2, experts), allocate(3, experts), allocate(4, experts)},
          reinterpret_cast<std::int32_t*>(allocate(5, experts))};
}

}  // namespace

void CpuBackend::uoe_bids(In gate_up, const BidOptions& options, Out bids, Out probs, Out lse, Out ids, Out weights,
                          Out hidden) {
  const char* const op = "uoe_bids";
  const BidShape shape = check_inputs(op, gate_up, options);
  const std::int64_t num_experts = shape.num_experts;
  const cpu::TopKResult result =
      check_top_k(op, shape.num_tokens, num_experts, options.top_k, probs, lse, ids, weights);
  check_dense(op, "bids", bids, {shape.num_tokens, num_experts}, DType::f32);
  check_dense(op, "hidden", hidden, shape.hidden(), shape.act);
  const auto memory = [&](int worker) {
    return bids_scratch(shape, [&](int slot, std::int64_t size) { return scratch(worker, slot, size); });
  };
  const auto run = [&]<class T>(const cpu::UoeRows<T>& rows) {
    const cpu::BidsForward<T> forward{
        options, num_experts, shape.num_neurons, gate_up.data<T>(), bids.data<float>(), result, hidden.data<T>()};
    for_chunks(pool_, shape.num_tokens, shape.tokens_per_task(), [&](std::int64_t begin, std::int64_t end, int worker) {
      rows.forward(forward, memory(worker), begin, end);
    });
  };
  if (shape.act == DType::f32) {
    run(cpu::uoe_rows_f32(isa_));
  } else {
    run(cpu::uoe_rows_bf16(isa_));
  }
}

void CpuBackend::uoe_bids_backward(In gate_up, In bids, In probs, In lse, In ids, In weights, In dweights, In dhidden,
                                   const BidOptions& options, const AuxiliaryGradient& auxiliary, Out dgate_up) {
  const char* const op = "uoe_bids_backward";
  const BidShape shape = check_inputs(op, gate_up, options);
  const std::int64_t num_experts = shape.num_experts;
  const cpu::TopKGradient gradient = check_top_k_gradient(op, shape.num_tokens, num_experts, options.top_k, probs, lse,
                                                          ids, weights, dweights, auxiliary);
  check_dense(op, "bids", bids, {shape.num_tokens, num_experts}, DType::f32);
  check_dense(op, "dhidden", dhidden, shape.hidden(), shape.act);
  check_dense(op, "dgate_up", dgate_up, gate_up.shape(), shape.act);
  if (dgate_up.same_data(gate_up)) fail(op, "required dgate_up apart from gate_up, found the same memory");
  const auto memory = [&](int worker) {
    return bids_scratch(shape, [&](int slot, std::int64_t size) { return scratch(worker, slot, size); });
  };
  const auto run = [&]<class T>(const cpu::UoeRows<T>& rows) {
    const cpu::BidsBackward<T> backward{options,           num_experts,        shape.num_neurons,
                                        gate_up.data<T>(), bids.data<float>(), gradient,
                                        dhidden.data<T>(), dgate_up.data<T>()};
    for_chunks(pool_, shape.num_tokens, shape.tokens_per_task(), [&](std::int64_t begin, std::int64_t end, int worker) {
      rows.backward(backward, memory(worker), begin, end);
    });
  };
  if (shape.act == DType::f32) {
    run(cpu::uoe_rows_f32(isa_));
  } else {
    run(cpu::uoe_rows_bf16(isa_));
  }
}

}  // namespace artel
