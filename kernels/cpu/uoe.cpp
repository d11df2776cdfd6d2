#include "kernels/cpu/rows/uoe.h"
#include "kernels/checks/uoe.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/routing.h"
#include "kernels/cpu/tasks.h"

namespace artel {
namespace {

std::int64_t tokens_per_task(const BidShape& shape) {
  return rows_per_task(shape.num_experts * 2 * shape.num_neurons);
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
  const BidShape shape = check_uoe_bids(gate_up, options, bids, probs, lse, ids, weights, hidden);
  const std::int64_t num_experts = shape.num_experts;
  const cpu::TopKResult result = cpu::top_k_result(probs, lse, ids, weights);
  const auto memory = [&](int worker) {
    return bids_scratch(shape, [&](int slot, std::int64_t size) { return scratch(worker, slot, size); });
  };
  const auto run = [&]<class T>(const cpu::UoeRows<T>& rows) {
    const cpu::BidsForward<T> forward{
        options, num_experts, shape.num_neurons, gate_up.data<T>(), bids.data<float>(), result, hidden.data<T>()};
    for_chunks(pool_, shape.num_tokens, tokens_per_task(shape), [&](std::int64_t begin, std::int64_t end, int worker) {
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
  const BidShape shape =
      check_uoe_bids_backward(gate_up, bids, probs, lse, ids, weights, dweights, dhidden, options, auxiliary, dgate_up);
  const std::int64_t num_experts = shape.num_experts;
  const cpu::TopKGradient gradient = cpu::top_k_gradient(probs, lse, ids, weights, dweights, auxiliary);
  const auto memory = [&](int worker) {
    return bids_scratch(shape, [&](int slot, std::int64_t size) { return scratch(worker, slot, size); });
  };
  const auto run = [&]<class T>(const cpu::UoeRows<T>& rows) {
    const cpu::BidsBackward<T> backward{options,           num_experts,        shape.num_neurons,
                                        gate_up.data<T>(), bids.data<float>(), gradient,
                                        dhidden.data<T>(), dgate_up.data<T>()};
    for_chunks(pool_, shape.num_tokens, tokens_per_task(shape), [&](std::int64_t begin, std::int64_t end, int worker) {
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
