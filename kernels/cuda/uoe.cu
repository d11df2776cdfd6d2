#include <algorithm>
#include <cstdint>

#include "kernels/checks/uoe.h"
#include "kernels/cuda/bids.cuh"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/simt.h"
#include "kernels/cuda/top_k.cuh"

// A warp works on a token. Its gates and ups lie behind each other in memory but in rows of S, often an odd number, so
// they go through shared memory in packs of 16 bytes, each read and written once, and lanes pick what they need there.
// A token that is too large for that goes through in pieces of some experts (its chosen experts are then read twice),
// and one whose experts are large is not staged: a whole warp reads an expert's neurons side by side.

namespace artel {
namespace {

using cuda::LaneGroups;
using cuda::NeuronRows;

/// How rows of neurons lie in shared memory: every row may be followed by 16 bytes that keep the rows of neighbouring
/// lanes in different banks.
struct StagedRows {
  bool packed = false;  ///< memory is read and written in packs of 16 bytes
  unsigned magic = 0;   ///< ceil(2^32 / packs in a row) if rows are padded, else 0
  int stride = 0;       ///< elements from row to row

  /// Where pack i of memory is in shared memory.
  __device__ int pack(int i) const { return i + static_cast<int>(__umulhi(static_cast<unsigned>(i), magic)); }
};

struct BidPlan {
  std::int64_t num_tokens = 0;
  int num_experts = 0;
  int num_neurons = 0;
  int experts_per_piece = 0;  ///< num_experts: the whole token is staged
  StagedRows gate_up;         ///< [N, 2S]
  StagedRows hidden;          ///< [N, S]
  LaneGroups of_experts{};
  LaneGroups of_chosen{};
  int gate_up_bytes = 0;  ///< of shared memory, in front of
  int staged_bytes = 0;   ///< both together, in front of everything else of a warp
  int warp_bytes = 0;

  __host__ __device__ bool is_whole() const { return experts_per_piece == num_experts; }
};

template <class T>
using PackOf = simt::Pack<T, simt::pack_width<T>>;

/// staged = size elements of memory, or the reverse; by all lanes of a warp.
template <class T>
__device__ void stage(const T* memory, int size, const StagedRows& rows, T* staged) {
  const int lane = cuda::lane_of_warp();
  if (rows.packed) {
    const auto* const from = reinterpret_cast<const PackOf<T>*>(memory);
    auto* const to = reinterpret_cast<PackOf<T>*>(staged);
    const int num_packs = size / simt::pack_width<T>;
#pragma unroll 4
    for (int i = lane; i < num_packs; i += simt::warp_size) to[rows.pack(i)] = from[i];
  } else {
    for (int i = lane; i < size; i += simt::warp_size) staged[i] = memory[i];
  }
}
template <class T>
__device__ void unstage(const T* staged, int size, const StagedRows& rows, T* memory) {
  const int lane = cuda::lane_of_warp();
  if (rows.packed) {
    const auto* const from = reinterpret_cast<const PackOf<T>*>(staged);
    auto* const to = reinterpret_cast<PackOf<T>*>(memory);
    const int num_packs = size / simt::pack_width<T>;
#pragma unroll 4
    for (int i = lane; i < num_packs; i += simt::warp_size) to[i] = from[rows.pack(i)];
  } else {
    for (int i = lane; i < size; i += simt::warp_size) memory[i] = staged[i];
  }
}

template <class T>
struct BidsForward {
  BidOptions options;
  BidPlan plan;
  const T* gate_up;  ///< [T, N, 2, S]
  float* bids;       ///< [T, N]
  cuda::TopKResult result;
  T* hidden;  ///< [T, N, S]
};

template <class T, bool staged>
__global__ void __launch_bounds__(cuda::largest_block_of_warps) uoe_bids_kernel(const BidsForward<T> p) {
  SIMT_DYNAMIC_SHARED(shared_memory);
  const BidPlan& plan = p.plan;
  const int warp = static_cast<int>(threadIdx.x) / simt::warp_size;
  const std::int64_t token =
      static_cast<std::int64_t>(blockIdx.x) * (static_cast<int>(blockDim.x) / simt::warp_size) + warp;
  if (token >= plan.num_tokens) return;
  const int num_experts = plan.num_experts;
  const int size = plan.num_neurons;
  const int top_k = static_cast<int>(p.options.top_k.top_k);
  const float shared = p.options.virtual_shared_expert ? 1.0F : 0.0F;
  unsigned char* const memory = shared_memory + warp * plan.warp_bytes;
  const cuda::ChoiceMemory choice(memory + plan.staged_bytes, num_experts, top_k);
  const T* const gate_up = p.gate_up + token * num_experts * 2 * size;
  T* const hidden = p.hidden + token * num_experts * size;
  float* const bids = p.bids + token * num_experts;
  T* const staged_gate_up = reinterpret_cast<T*>(memory);
  T* const staged_hidden = reinterpret_cast<T*>(memory + plan.gate_up_bytes);

  const auto bid_piece = [&](const NeuronRows<const T>& from, const NeuronRows<T>& to, int first, int count) {
    cuda::with_bid(p.options, [&](auto kind) {
      cuda::bid<decltype(kind)>(from, to, count, size, plan.of_experts, shared, p.options.score_scale, bids + first,
                                choice.scores + first);
    });
  };
  if constexpr (staged) {
    for (int first = 0; first < num_experts; first += plan.experts_per_piece) {
      const int count = min(plan.experts_per_piece, num_experts - first);
      stage(gate_up + first * 2 * size, count * 2 * size, plan.gate_up, staged_gate_up);
      __syncwarp();
      bid_piece({staged_gate_up, plan.gate_up.stride}, {staged_hidden, plan.hidden.stride}, first, count);
      __syncwarp();
      if (plan.is_whole()) continue;
      unstage(staged_hidden, count * size, plan.hidden, hidden + first * size);
      __syncwarp();
    }
  } else {
    bid_piece({gate_up, 2 * size}, {hidden, size}, 0, num_experts);
    __syncwarp();
  }
  cuda::choose_top_k(nullptr, num_experts, p.options.top_k, choice, p.result, token);

  const bool in_shared_memory = staged && plan.is_whole();
  if (p.options.routed_includes_routing_neurons) {
    if (in_shared_memory) {
      cuda::weigh_chosen<T>({staged_gate_up, plan.gate_up.stride}, {staged_hidden, plan.hidden.stride}, choice.ids,
                            choice.weights, top_k, size, plan.of_chosen, shared);
    } else {
      cuda::weigh_chosen<T>({gate_up, 2 * size}, {hidden, size}, choice.ids, choice.weights, top_k, size,
                            plan.of_chosen, shared);
    }
  }
  if (!in_shared_memory) return;
  __syncwarp();
  unstage(staged_hidden, num_experts * size, plan.hidden, hidden);
}

template <class T>
struct BidsBackward {
  BidOptions options;
  BidPlan plan;
  const T* gate_up;   ///< [T, N, 2, S]
  const float* bids;  ///< [T, N]
  cuda::TopKGradient gradient;
  const T* dhidden;  ///< [T, N, S]
  T* dgate_up;       ///< [T, N, 2, S]
};

// Six blocks a processor: with the compiler's own choice of registers it spills.
template <class T, bool staged>
__global__ void __launch_bounds__(cuda::largest_block_of_warps, 6) uoe_bids_backward_kernel(const BidsBackward<T> p) {
  SIMT_DYNAMIC_SHARED(shared_memory);
  const BidPlan& plan = p.plan;
  const int lane = cuda::lane_of_warp();
  const int warp = static_cast<int>(threadIdx.x) / simt::warp_size;
  const std::int64_t token =
      static_cast<std::int64_t>(blockIdx.x) * (static_cast<int>(blockDim.x) / simt::warp_size) + warp;
  if (token >= plan.num_tokens) return;
  const int num_experts = plan.num_experts;
  const int size = plan.num_neurons;
  const int top_k = static_cast<int>(p.options.top_k.top_k);
  const float shared = p.options.virtual_shared_expert ? 1.0F : 0.0F;
  unsigned char* const memory = shared_memory + warp * plan.warp_bytes;
  float* const dscores = reinterpret_cast<float*>(memory + plan.staged_bytes);  // [N]
  float* const coefficients = dscores + num_experts;                            // [N]
  float* const dots = coefficients + num_experts;                               // [K]
  const T* const gate_up = p.gate_up + token * num_experts * 2 * size;
  const T* const dhidden = p.dhidden + token * num_experts * size;
  const float* const bids = p.bids + token * num_experts;
  const int* const ids = p.gradient.ids + token * top_k;
  T* const dgate_up = p.dgate_up + token * num_experts * 2 * size;
  T* const staged_gate_up = reinterpret_cast<T*>(memory);
  T* const staged_dhidden = reinterpret_cast<T*>(memory + plan.gate_up_bytes);
  const auto stage_piece = [&](int first, int count) {
    stage(gate_up + first * 2 * size, count * 2 * size, plan.gate_up, staged_gate_up);
    stage(dhidden + first * size, count * size, plan.hidden, staged_dhidden);
    __syncwarp();
  };
  if (staged && plan.is_whole()) stage_piece(0, num_experts);

  const bool includes_routing = p.options.routed_includes_routing_neurons;
  if (includes_routing) {
    if (staged && plan.is_whole()) {
      cuda::dot_chosen<T>({staged_gate_up, plan.gate_up.stride}, {staged_dhidden, plan.hidden.stride}, ids, top_k, size,
                          plan.of_chosen, dots);
    } else {
      cuda::dot_chosen<T>({gate_up, 2 * size}, {dhidden, size}, ids, top_k, size, plan.of_chosen, dots);
    }
  }
  for (int i = lane; i < num_experts; i += simt::warp_size) coefficients[i] = shared;
  __syncwarp();
  const float* const dweights = p.gradient.dweights != nullptr ? p.gradient.dweights + token * top_k : nullptr;
  const auto dweight_at = [=](int slot) {
    return (dweights != nullptr ? dweights[slot] : 0.0F) + (includes_routing ? dots[slot] : 0.0F);
  };
  cuda::scores_gradient(p.gradient, true, dweight_at, num_experts, p.options.top_k, dscores, token);
  if (includes_routing) {
    for (int slot = lane; slot < top_k; slot += simt::warp_size) {
      coefficients[ids[slot]] += p.gradient.weights[token * top_k + slot];
    }
    __syncwarp();
  }

  const auto backward = [&](const NeuronRows<const T>& from, const NeuronRows<const T>& d, const NeuronRows<T>& to,
                            int first, int count) {
    cuda::with_bid(p.options, [&](auto kind) {
      cuda::bid_backward<decltype(kind)>(from, d, to, count, size, plan.of_experts, p.options.score_scale, bids + first,
                                         dscores + first, coefficients + first);
    });
  };
  if constexpr (staged) {
    for (int first = 0; first < num_experts; first += plan.experts_per_piece) {
      const int count = min(plan.experts_per_piece, num_experts - first);
      if (!plan.is_whole()) stage_piece(first, count);
      const int stride = plan.gate_up.stride;
      backward({staged_gate_up, stride}, {staged_dhidden, plan.hidden.stride}, {staged_gate_up, stride}, first, count);
      __syncwarp();
      unstage(staged_gate_up, count * 2 * size, plan.gate_up, dgate_up + first * 2 * size);
      __syncwarp();
    }
  } else {
    backward({gate_up, 2 * size}, {dhidden, size}, {dgate_up, 2 * size}, 0, num_experts);
  }
}

/// Lanes that share one of `count` experts, so that a warp takes the fewest cycles by the count of instructions and of
/// accesses of shared memory in conflict.
LaneGroups lanes_for(std::int64_t count, std::int64_t num_neurons, std::int64_t row_bytes) {
  constexpr std::int64_t instructions = 25;      // for a neuron
  constexpr std::int64_t cycles_of_access = 12;  // for a neuron's accesses, times the degree of conflict
  const std::int64_t words = row_bytes % 4 == 0 ? row_bytes / 4 : 1;
  const std::int64_t lanes_in_a_bank = std::min<std::int64_t>(words & -words, simt::warp_size);
  LaneGroups best{0};
  std::int64_t least = INT64_MAX;
  for (int log2 = 0; log2 <= 5; ++log2) {
    const std::int64_t lanes = std::int64_t{1} << log2;
    const std::int64_t conflicts = std::max<std::int64_t>(1, lanes_in_a_bank / lanes);
    const std::int64_t rounds = simt::ceil_div(count * lanes, std::int64_t{simt::warp_size});
    const std::int64_t cycles =
        rounds *
        (simt::ceil_div(num_neurons, lanes) * std::max(instructions, cycles_of_access * conflicts) + 4 * log2 + 20);
    if (cycles >= least) continue;
    least = cycles;
    best = {log2};
  }
  return best;
}

/// Rows of `row_size` elements, num_rows of them for a token, at `data` and, if not null, at `other`.
template <class T>
StagedRows staged_rows(const T* data, const T* other, std::int64_t row_size, std::int64_t num_rows) {
  const std::int64_t token_size = row_size * num_rows;
  StagedRows rows;
  rows.packed = simt::packs(data, token_size, token_size) && (other == nullptr || simt::packs(other, 0, 0));
  rows.stride = static_cast<int>(row_size);
  constexpr std::int64_t bytes_of_banks = 32;  // rows of a multiple of it meet in at most a quarter of the banks
  if (rows.packed && row_size > 0 && row_size * static_cast<std::int64_t>(sizeof(T)) % bytes_of_banks == 0) {
    const std::int64_t packs = row_size / simt::pack_width<T>;
    rows.magic = static_cast<unsigned>(simt::ceil_div(std::int64_t{1} << 32, packs));
    rows.stride += simt::pack_width<T>;
  }
  return rows;
}

/// Everything but what the choice keeps in shared memory. `other_gate_up`: a second tensor like it, or null.
template <class T>
BidPlan plan_bids(const BidShape& shape, std::int64_t top_k, const T* gate_up, const T* other_gate_up,
                  const T* hidden) {
  constexpr std::int64_t most_bytes = 12 * 1024;  // that leave enough warps to a multiprocessor
  constexpr std::int64_t piece_bytes = 8 * 1024;
  constexpr std::int64_t experts_of_a_piece = 16;  // and multiples, which are whole packs
  BidPlan plan;
  plan.num_tokens = shape.num_tokens;
  plan.num_experts = static_cast<int>(shape.num_experts);
  plan.num_neurons = static_cast<int>(shape.num_neurons);
  plan.gate_up = staged_rows(gate_up, other_gate_up, 2 * shape.num_neurons, shape.num_experts);
  plan.hidden = staged_rows<T>(hidden, nullptr, shape.num_neurons, shape.num_experts);
  const auto row_bytes = [](const StagedRows& rows) { return std::int64_t{rows.stride} * std::int64_t{sizeof(T)}; };
  const std::int64_t expert_bytes = std::max<std::int64_t>(1, row_bytes(plan.gate_up) + row_bytes(plan.hidden));
  const std::int64_t whole_pieces = piece_bytes / (expert_bytes * experts_of_a_piece) * experts_of_a_piece;
  if (shape.num_experts * expert_bytes <= most_bytes) {
    plan.experts_per_piece = plan.num_experts;
  } else {
    plan.experts_per_piece = static_cast<int>(std::min(whole_pieces, shape.num_experts));
  }
  plan.of_chosen = lanes_for(top_k, shape.num_neurons, row_bytes(plan.gate_up));
  if (plan.experts_per_piece == 0) {
    plan.of_experts = {5};
  } else {
    const auto whole_packs = [](std::int64_t bytes) {
      return static_cast<int>(simt::ceil_div<std::int64_t>(bytes, 16)) * 16;
    };
    plan.of_experts = lanes_for(plan.experts_per_piece, shape.num_neurons, row_bytes(plan.gate_up));
    plan.gate_up_bytes = whole_packs(plan.experts_per_piece * row_bytes(plan.gate_up));
    plan.staged_bytes = plan.gate_up_bytes + whole_packs(plan.experts_per_piece * row_bytes(plan.hidden));
  }
  return plan;
}

/// choice_bytes: what a warp needs besides what it stages.
template <class Parameters>
void launch_bids(const char* op, cudaStream_t stream, void (*staged)(Parameters), void (*direct)(Parameters),
                 Parameters& p, std::int64_t choice_bytes) {
  p.plan.warp_bytes = static_cast<int>(simt::ceil_div<std::int64_t>(p.plan.staged_bytes + choice_bytes, 16)) * 16;
  const int warps = cuda::warps_per_block(op, p.plan.warp_bytes);
  simt::launch(op, stream, p.plan.experts_per_piece > 0 ? staged : direct,
               simt::num_blocks(op, simt::ceil_div<std::int64_t>(p.plan.num_tokens, warps)),
               static_cast<unsigned>(warps * simt::warp_size),
               static_cast<std::size_t>(warps) * static_cast<std::size_t>(p.plan.warp_bytes), p);
}

}  // namespace

void CudaBackend::uoe_bids(In gate_up, const BidOptions& options, Out bids, Out probs, Out lse, Out ids, Out weights,
                           Out hidden) {
  const BidShape shape = check_uoe_bids(gate_up, options, bids, probs, lse, ids, weights, hidden);
  if (shape.num_tokens == 0) return;
  const std::int64_t top_k = options.top_k.top_k;
  cuda::with_act(shape.act, [&]<class T>(T) {
    const T* const inputs = cuda::device_data<T>(gate_up);
    T* const outputs = cuda::device_data<T>(hidden);
    BidsForward<T> p{options,
                     plan_bids<T>(shape, top_k, inputs, nullptr, outputs),
                     inputs,
                     bids.data<float>(),
                     {probs.data<float>(), lse.data<float>(), ids.data<std::int32_t>(), weights.data<float>()},
                     outputs};
    launch_bids("uoe_bids", stream_, uoe_bids_kernel<T, true>, uoe_bids_kernel<T, false>, p,
                cuda::ChoiceMemory::num_bytes(shape.num_experts, top_k));
  });
}

void CudaBackend::uoe_bids_backward(In gate_up, In bids, In probs, In lse, In ids, In weights, In dweights, In dhidden,
                                    const BidOptions& options, const AuxiliaryGradient& auxiliary, Out dgate_up) {
  const BidShape shape =
      check_uoe_bids_backward(gate_up, bids, probs, lse, ids, weights, dweights, dhidden, options, auxiliary, dgate_up);
  if (shape.num_tokens == 0) return;
  const std::int64_t top_k = options.top_k.top_k;
  cuda::with_act(shape.act, [&]<class T>(T) {
    const T* const inputs = cuda::device_data<T>(gate_up);
    const T* const gradients = cuda::device_data<T>(dhidden);
    T* const outputs = cuda::device_data<T>(dgate_up);
    BidsBackward<T> p{options,
                      plan_bids<T>(shape, top_k, inputs, outputs, gradients),
                      inputs,
                      bids.data<float>(),
                      cuda::top_k_gradient(probs, lse, ids, weights, dweights, auxiliary),
                      gradients,
                      outputs};
    const std::int64_t choice_bytes = 4 * (2 * shape.num_experts + top_k);
    launch_bids("uoe_bids_backward", stream_, uoe_bids_backward_kernel<T, true>, uoe_bids_backward_kernel<T, false>, p,
                choice_bytes);
  });
}

}  // namespace artel
