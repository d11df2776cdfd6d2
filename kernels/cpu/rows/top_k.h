#pragma once

// What all routers with a fixed K share, for one token: from scores to probabilities, choice and weights, and back.
// N num_experts · K num_experts_per_tok.

#include <cstdint>

#include "kernels/cpu/rows/integers.h"
#include "kernels/cpu/rows/routing.h"
#include "kernels/cpu/rows/simd.h"

namespace artel::cpu::ARTEL_ISA {

constexpr std::int32_t key_of_nan = INT32_MIN + 1;  // behind every number
constexpr std::int32_t key_of_none = INT32_MIN;     // behind every candidate

/// Integers in the order of the scores; the two zeros are equal, NaN comes last.
inline vint keys_of(vfloat scores) {
  const vint bits = (vint)(scores + 0.0F);
  const vint ordered = bits ^ ((bits >> 31) & INT32_MAX);
  return scores == scores ? ordered : splat_int(key_of_nan);
}

/// The K largest of keys [whole vectors of N, the rest key_of_none] in descending order, the lower index first among
/// equals. Each pass drops the one chosen before; whole vectors are written, for a lane written alone would stall the
/// next read.
inline void select_top_k(std::int32_t* keys, std::int64_t num_experts, std::int64_t top_k, std::int32_t* ids) {
  const vint lanes = lane_numbers();
  const vint none = splat_int(key_of_none);
  vint chosen = splat_int(-1);
  for (std::int64_t slot = 0; slot < top_k; ++slot) {
    vint best = none;  // per lane; the first of equals stays
    vint best_at = lanes;
    vint at = lanes;
    for (std::int64_t i = 0; i < num_experts; i += width) {
      const vint key = at == chosen ? none : load_int(keys + i);
      store_int(keys + i, key);
      const vint better = key > best;
      best = better ? key : best;
      best_at = better ? at : best_at;
      at += width;
    }
    chosen = -largest_lane(best == largest_lane(best) ? -best_at : none);
    ids[slot] = chosen[0];
  }
}

/// The log of the sum of exponentials of scores is log(sum) + largest.
struct LogSum {
  float largest;
  float sum;
};

/// probs [N] = softmax(scores [N]); the two may be the same.
inline LogSum softmax(const float* scores, std::int64_t num_experts, float* probs) {
  const float none = -__builtin_inff();
  vfloat largest_lanes = splat(none);
  for_vectors(num_experts, [&](std::int64_t i, auto part) {
    largest_lanes = max(load_part(scores + i, part, none), largest_lanes);
  });
  const float largest = reduce_max(largest_lanes);
  const float sum = sum_vectors(num_experts, [=](std::int64_t i, auto part) {
    const vfloat p = exp(load_part(scores + i, part, none) - largest);
    store_part(probs + i, p, part);
    return p;
  });
  const float scale = 1.0F / sum;
  for_vectors(num_experts,
              [=](std::int64_t i, auto part) { store_part(probs + i, load_part(probs + i, part) * scale, part); });
  return {largest, sum};
}

/// A bias may choose experts whose p are nothing beside that of another. The softmax over the chosen alone is p over
/// its sum as well, but never 0/0.
constexpr float vanishing = 1.0e-30F;

/// The choice of one token by scores [N], into its rows of `result`. bias [N] or null; keys: scratch of N rounded up to
/// whole vectors.
inline void choose_top_k(const float* scores, const float* bias, std::int64_t num_experts, const TopKOptions& options,
                         std::int32_t* keys, const TopKResult& result, std::int64_t token) {
  const std::int64_t top_k = options.top_k;
  float* const probs = result.probs + token * num_experts;
  std::int32_t* const ids = result.ids + token * top_k;
  float* const weights = result.weights + token * top_k;
  for_vectors(num_experts, [=](std::int64_t i, auto part) {
    vfloat score = load_part(scores + i, part);
    if (bias != nullptr) score += load_part(bias + i, part);
    store_int(keys + i, keys_of(score));
  });
  for (std::int64_t i = num_experts; i < whole_vectors(num_experts); ++i) keys[i] = key_of_none;
  select_top_k(keys, num_experts, top_k, ids);

  const LogSum log_sum = softmax(scores, num_experts, probs);
  result.lse[token] = log_sum.largest + __builtin_logf(log_sum.sum);
  float scale = options.routed_scaling_factor;
  float sum = 0.0F;
  for (std::int64_t slot = 0; slot < top_k; ++slot) {
    weights[slot] = probs[ids[slot]];
    sum += weights[slot];
  }
  if (options.norm_topk_prob && sum < vanishing) {
    for (std::int64_t slot = 0; slot < top_k; ++slot) weights[slot] = scores[ids[slot]];
    softmax(weights, top_k, weights);
  } else if (options.norm_topk_prob) {
    scale /= sum;
  }
  for (std::int64_t slot = 0; slot < top_k; ++slot) weights[slot] *= scale;
}

/// dscores [N] = of one token, from dweights [K] (null: zero) and the auxiliary losses. With w = f·p/sum or w = f·p and
/// m = sum over the chosen of w_j dw_j, the gradient through the weights is w_i (dw_i - m/f) for the chosen, or
/// w_i dw_i for the chosen less p_i m for all.
inline void scores_gradient(const TopKGradient& gradient, const float* dweights, std::int64_t num_experts,
                            const TopKOptions& options, float* dscores, std::int64_t token) {
  const std::int64_t num_chosen = dweights != nullptr ? options.top_k : 0;
  const float* const probs = gradient.probs + token * num_experts;
  const std::int32_t* const ids = gradient.ids + token * options.top_k;
  const float* const weights = gradient.weights + token * options.top_k;
  float mean = 0.0F;
  for (std::int64_t slot = 0; slot < num_chosen; ++slot) mean += weights[slot] * dweights[slot];

  float shift = options.norm_topk_prob ? 0.0F : -mean;
  if (gradient.z_scale != 0.0F) shift += gradient.z_scale * gradient.lse[token];
  if (gradient.balance != nullptr) {
    const float* const balance = gradient.balance + token / gradient.tokens_per_set * num_experts;
    shift -= sum_vectors(num_experts, [=](std::int64_t i, auto part) {
      return load_part(probs + i, part) * load_part(balance + i, part);
    });
    for_vectors(num_experts, [=](std::int64_t i, auto part) {
      store_part(dscores + i, load_part(probs + i, part) * (load_part(balance + i, part) + shift), part);
    });
  } else {
    for_vectors(num_experts,
                [=](std::int64_t i, auto part) { store_part(dscores + i, load_part(probs + i, part) * shift, part); });
  }

  const float chosen_shift = options.norm_topk_prob ? mean / options.routed_scaling_factor : 0.0F;
  for (std::int64_t slot = 0; slot < num_chosen; ++slot) {
    dscores[ids[slot]] += weights[slot] * (dweights[slot] - chosen_shift);
  }
}

}  // namespace artel::cpu::ARTEL_ISA
