#pragma once

// What all routers with a fixed K share, for one token, by one warp: from scores to probabilities, choice and weights,
// and back. N num_experts · K num_experts_per_tok.

#include <cstdint>
#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/simt.h"
#include "util/error.h"

namespace artel::cuda {

inline __device__ int lane_of_warp() {
  return static_cast<int>(threadIdx.x) % simt::warp_size;
}

constexpr int key_of_nan = INT32_MIN + 1;  // behind every number
constexpr int key_of_none = INT32_MIN;     // behind every candidate

/// Integers in the order of the scores; the two zeros are equal, NaN comes last.
inline __device__ int key_of(float score) {
  const int bits = __float_as_int(score + 0.0F);
  return score == score ? bits ^ ((bits >> 31) & INT32_MAX) : key_of_nan;
}
inline __device__ float score_of(int key) {
  return __int_as_float(key ^ ((key >> 31) & INT32_MAX));
}

/// ids [K] = the experts with the K largest of the N keys, in descending order, the lower index first among equals.
/// key_at(i): the key of expert i. Keys stay in registers, num_keys of them in each lane: N <= 32·num_keys.
template <int num_keys, class KeyAt>
__device__ void select_in_registers(int num_experts, int top_k, const KeyAt& key_at, int* ids) {
  const int lane = lane_of_warp();
  int keys[num_keys];
#pragma unroll
  for (int j = 0; j < num_keys; ++j) {
    const int expert = lane + j * simt::warp_size;
    keys[j] = expert < num_experts ? key_at(expert) : key_of_none;
  }
  for (int slot = 0; slot < top_k; ++slot) {
    int best = keys[0];
    int best_at = lane;
#pragma unroll
    for (int j = 1; j < num_keys; ++j) {
      if (keys[j] <= best) continue;
      best = keys[j];
      best_at = lane + j * simt::warp_size;
    }
    const int top = __reduce_max_sync(simt::full_mask, best);
    const int chosen = __reduce_min_sync(simt::full_mask, best == top ? best_at : INT32_MAX);
#pragma unroll
    for (int j = 0; j < num_keys; ++j) {
      if (chosen == lane + j * simt::warp_size) keys[j] = key_of_none;
    }
    if (lane == 0) ids[slot] = chosen;
  }
}

/// The same for any N. keys: shared memory of strip_length(N) for each lane, 32 strips that follow each other; lane i
/// knows the largest key of strip i, and one strip is searched for each choice. Within a strip, a lane never touches
/// the elements of another.
template <class KeyAt>
__device__ void select_in_strips(int num_experts, int top_k, const KeyAt& key_at, int strip_length, int* keys,
                                 int* ids) {
  const int lane = lane_of_warp();
  int best = key_of_none;
  for (int strip = 0; strip < simt::warp_size; ++strip) {
    int best_of_strip = key_of_none;
    for (int i = lane; i < strip_length; i += simt::warp_size) {
      const int expert = strip * strip_length + i;
      const int key = expert < num_experts ? key_at(expert) : key_of_none;
      keys[expert] = key;
      best_of_strip = max(best_of_strip, key);
    }
    best_of_strip = __reduce_max_sync(simt::full_mask, best_of_strip);
    if (lane == strip) best = best_of_strip;
  }
  for (int slot = 0; slot < top_k; ++slot) {
    const int top = __reduce_max_sync(simt::full_mask, best);
    const int strip = __reduce_min_sync(simt::full_mask, best == top ? lane : INT32_MAX);
    int* const of_strip = keys + strip * strip_length;
    int at = INT32_MAX;
    for (int i = lane; i < strip_length; i += simt::warp_size) {
      if (of_strip[i] == top) at = min(at, i);
    }
    at = __reduce_min_sync(simt::full_mask, at);
    int rest = key_of_none;
    for (int i = lane; i < strip_length; i += simt::warp_size) {
      if (i == at) of_strip[i] = key_of_none;
      rest = max(rest, of_strip[i]);
    }
    rest = __reduce_max_sync(simt::full_mask, rest);
    if (lane == strip) best = rest;
    if (lane == 0) ids[slot] = strip * strip_length + at;
  }
}

/// Shared memory of one warp for a choice.
struct ChoiceMemory {
  float* scores;   ///< [N]
  int* keys;       ///< [32·strip_length(N)]
  int* ids;        ///< [K]
  float* weights;  ///< [K]

  static constexpr __host__ __device__ int strip_length(int num_experts) {
    return simt::ceil_div(num_experts, simt::warp_size);
  }
  static constexpr std::int64_t num_bytes(std::int64_t num_experts, std::int64_t top_k) {
    return 4 * (num_experts + simt::ceil_div<std::int64_t>(num_experts, simt::warp_size) * simt::warp_size + 2 * top_k);
  }
  __device__ ChoiceMemory(unsigned char* memory, int num_experts, int top_k)
      : scores(reinterpret_cast<float*>(memory)),
        keys(reinterpret_cast<int*>(scores + num_experts)),
        ids(keys + strip_length(num_experts) * simt::warp_size),
        weights(reinterpret_cast<float*>(ids + top_k)) {}
};

/// Results of the choice over T tokens; pointers are those of token 0.
struct TopKResult {
  float* probs;    ///< [T, N]
  float* lse;      ///< [T]
  int* ids;        ///< [T, K]
  float* weights;  ///< [T, K]
};

/// A bias may choose experts whose p are nothing beside that of another. The softmax over the chosen alone is p over
/// its sum as well, but never 0/0.
constexpr float vanishing = 1.0e-30F;

/// weights [K] = softmax of the scores of the chosen, times `scale`.
inline __device__ void softmax_of_chosen(const ChoiceMemory& memory, int top_k, float scale) {
  const int lane = lane_of_warp();
  int largest = key_of_none;
  for (int slot = lane; slot < top_k; slot += simt::warp_size) {
    largest = max(largest, key_of(memory.scores[memory.ids[slot]]));
  }
  const float shift = score_of(__reduce_max_sync(simt::full_mask, largest));
  float sum = 0.0F;
  for (int slot = lane; slot < top_k; slot += simt::warp_size) {
    const float p = expf(memory.scores[memory.ids[slot]] - shift);
    memory.weights[slot] = p;
    sum += p;
  }
  scale /= simt::warp_sum(sum);
  for (int slot = lane; slot < top_k; slot += simt::warp_size) memory.weights[slot] *= scale;
}

/// The choice of one token by the scores in `memory`, which all lanes see; into its rows of `result`, ids and weights
/// also into `memory`, where all lanes see them afterwards. bias [N] or null.
inline __device__ void choose_top_k(const float* bias, int num_experts, const TopKOptions& options,
                                    const ChoiceMemory& memory, const TopKResult& result, std::int64_t token) {
  const int lane = lane_of_warp();
  const int top_k = static_cast<int>(options.top_k);
  const float* const scores = memory.scores;
  const auto key_at = [=](int expert) {
    return key_of(bias != nullptr ? scores[expert] + bias[expert] : scores[expert]);
  };
  if (num_experts <= 2 * simt::warp_size) {
    select_in_registers<2>(num_experts, top_k, key_at, memory.ids);
  } else if (num_experts <= 4 * simt::warp_size) {
    select_in_registers<4>(num_experts, top_k, key_at, memory.ids);
  } else {
    select_in_strips(num_experts, top_k, key_at, ChoiceMemory::strip_length(num_experts), memory.keys, memory.ids);
  }
  __syncwarp();  // keys are free for the exponentials, ids are seen

  int largest = key_of_none;
  for (int i = lane; i < num_experts; i += simt::warp_size) largest = max(largest, key_of(scores[i]));
  const float shift = score_of(__reduce_max_sync(simt::full_mask, largest));
  float sum = 0.0F;
  for (int i = lane; i < num_experts; i += simt::warp_size) {
    const float e = expf(scores[i] - shift);
    memory.keys[i] = __float_as_int(e);
    sum += e;
  }
  sum = simt::warp_sum(sum);
  if (lane == 0) result.lse[token] = shift + logf(sum);
  const float scale_of_probs = 1.0F / sum;
  float* const probs = result.probs + token * num_experts;
  for (int i = lane; i < num_experts; i += simt::warp_size) {
    const float p = __int_as_float(memory.keys[i]) * scale_of_probs;
    memory.keys[i] = __float_as_int(p);
    probs[i] = p;
  }
  __syncwarp();

  float chosen_sum = 0.0F;
  for (int slot = lane; slot < top_k; slot += simt::warp_size) {
    const float p = __int_as_float(memory.keys[memory.ids[slot]]);
    memory.weights[slot] = p;
    chosen_sum += p;
  }
  chosen_sum = simt::warp_sum(chosen_sum);
  float scale = options.routed_scaling_factor;
  if (options.norm_topk_prob && chosen_sum < vanishing) {
    softmax_of_chosen(memory, top_k, scale);
  } else {
    if (options.norm_topk_prob) scale /= chosen_sum;
    for (int slot = lane; slot < top_k; slot += simt::warp_size) memory.weights[slot] *= scale;
  }
  for (int slot = lane; slot < top_k; slot += simt::warp_size) {
    result.ids[token * top_k + slot] = memory.ids[slot];
    result.weights[token * top_k + slot] = memory.weights[slot];
  }
  __syncwarp();
}

/// What the backward of the choice reads; pointers are those of token 0.
struct TopKGradient {
  const float* probs;           ///< [T, N]
  const float* lse;             ///< [T]
  const int* ids;               ///< [T, K]
  const float* weights;         ///< [T, K]
  const float* dweights;        ///< [T, K] or null: zero
  const float* balance;         ///< [M, N] or null: no balance loss
  std::int64_t tokens_per_set;  ///< tokens that share a row of `balance`
  float z_scale;
};

inline TopKGradient top_k_gradient(In probs, In lse, In ids, In weights, In dweights,
                                   const AuxiliaryGradient& auxiliary) {
  return {probs.data<float>(),
          lse.data<float>(),
          ids.data<std::int32_t>(),
          weights.data<float>(),
          dweights.defined() ? dweights.data<float>() : nullptr,
          auxiliary.balance.defined() ? auxiliary.balance.data<float>() : nullptr,
          auxiliary.tokens_per_set,
          auxiliary.z_scale};
}

/// dscores [N] = of one token, in shared memory, which all lanes see afterwards. dweight_at(slot): the gradient of a
/// weight; none are asked for unless has_dweights. With w = f·p/sum or w = f·p and m = sum over the chosen of w_j dw_j,
/// the gradient through the weights is w_i (dw_i - m/f) for the chosen, or w_i dw_i for the chosen less p_i m for all.
template <class DweightAt>
__device__ void scores_gradient(const TopKGradient& gradient, bool has_dweights, const DweightAt& dweight_at,
                                int num_experts, const TopKOptions& options, float* dscores, std::int64_t token) {
  const int lane = lane_of_warp();
  const int num_chosen = has_dweights ? static_cast<int>(options.top_k) : 0;
  const float* const probs = gradient.probs + token * num_experts;
  const int* const ids = gradient.ids + token * options.top_k;
  const float* const weights = gradient.weights + token * options.top_k;
  float mean = 0.0F;
  for (int slot = lane; slot < num_chosen; slot += simt::warp_size) mean += weights[slot] * dweight_at(slot);
  mean = simt::warp_sum(mean);

  float shift = options.norm_topk_prob ? 0.0F : -mean;
  if (gradient.z_scale != 0.0F) shift += gradient.z_scale * gradient.lse[token];
  if (gradient.balance != nullptr) {
    const float* const balance = gradient.balance + token / gradient.tokens_per_set * num_experts;
    float sum = 0.0F;
    for (int i = lane; i < num_experts; i += simt::warp_size) sum += probs[i] * balance[i];
    shift -= simt::warp_sum(sum);
    for (int i = lane; i < num_experts; i += simt::warp_size) dscores[i] = probs[i] * (balance[i] + shift);
  } else if (options.norm_topk_prob && gradient.z_scale == 0.0F) {  // probs need not be read
    for (int i = lane; i < num_experts; i += simt::warp_size) dscores[i] = 0.0F;
  } else {
    for (int i = lane; i < num_experts; i += simt::warp_size) dscores[i] = probs[i] * shift;
  }
  __syncwarp();

  const float chosen_shift = options.norm_topk_prob ? mean / options.routed_scaling_factor : 0.0F;
  for (int slot = lane; slot < num_chosen; slot += simt::warp_size) {
    dscores[ids[slot]] += weights[slot] * (dweight_at(slot) - chosen_shift);
  }
  __syncwarp();
}

/// Threads of the largest block of warps that work by themselves, each in shared memory of its own.
constexpr int largest_block_of_warps = 128;

/// Warps of such a block where each needs that much: as many as leave several blocks to a multiprocessor.
/// Errors: more memory than a block of any GPU since compute capability 8.0 can have.
inline int warps_per_block(const char* op, std::int64_t bytes_per_warp) {
  constexpr std::int64_t bytes_of_a_block = 48 * 1024;
  constexpr std::int64_t most_bytes = 99 * 1024;
  if (bytes_per_warp > most_bytes) {
    fail(op, "required a choice that fits " + std::to_string(most_bytes) + " bytes of a GPU's shared memory, found " +
                 std::to_string(bytes_per_warp) + " bytes for a token; use fewer experts");
  }
  for (int warps = largest_block_of_warps / simt::warp_size; warps > 1; warps /= 2) {
    if (warps * bytes_per_warp <= bytes_of_a_block) return warps;
  }
  return 1;
}

}  // namespace artel::cuda
