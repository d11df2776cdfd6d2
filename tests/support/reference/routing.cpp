#include "support/reference/routing.h"

#include <algorithm>
#include <numeric>

namespace artel::reference {
namespace {

/// Gradient with respect to the probabilities of a token's experts: of the weights (p over the sum of the chosen p, or
/// p itself, times the scaling factor), and of the balance loss.
Vector probability_gradient(const double* p, std::size_t num_experts, const std::int32_t* ids, const double* dweights,
                            const TopKOptions& options, const double* balance) {
  Vector dp(num_experts, 0.0);
  if (balance != nullptr) std::copy(balance, balance + num_experts, dp.begin());
  if (dweights == nullptr) return dp;
  const auto k = static_cast<std::size_t>(options.top_k);
  double chosen_sum = 0.0;
  double weighted = 0.0;
  for (std::size_t slot = 0; slot < k; ++slot) {
    chosen_sum += p[ids[slot]];
    weighted += p[ids[slot]] * dweights[slot];
  }
  for (std::size_t slot = 0; slot < k; ++slot) {
    const double dw = dweights[slot];
    const double slope = options.norm_topk_prob ? dw / chosen_sum - weighted / (chosen_sum * chosen_sum) : dw;
    dp[static_cast<std::size_t>(ids[slot])] += options.routed_scaling_factor * slope;
  }
  return dp;
}

}  // namespace

Ids top_k(const Vector& scores, std::size_t num_experts, std::size_t k) {
  Ids ids;
  for (std::size_t t = 0; t < scores.size() / num_experts; ++t) {
    Ids order(num_experts);
    std::iota(order.begin(), order.end(), 0);
    const double* row = &scores[t * num_experts];
    std::stable_sort(order.begin(), order.end(),
                     [row](std::int32_t left, std::int32_t right) { return row[left] > row[right]; });
    ids.insert(ids.end(), order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k));
  }
  return ids;
}

Routing route(const Vector& scores, std::size_t num_experts, const Ids& ids, const TopKOptions& options) {
  Routing result;
  result.ids = ids;
  const auto k = static_cast<std::size_t>(options.top_k);
  for (std::size_t t = 0; t < scores.size() / num_experts; ++t) {
    const double* row = &scores[t * num_experts];
    const double largest = *std::max_element(row, row + num_experts);
    double sum = 0.0;
    for (std::size_t i = 0; i < num_experts; ++i) sum += std::exp(row[i] - largest);
    result.lse.push_back(largest + std::log(sum));
    for (std::size_t i = 0; i < num_experts; ++i) result.probs.push_back(std::exp(row[i] - largest) / sum);
    double chosen_sum = 0.0;
    const double* p = &result.probs[t * num_experts];
    for (std::size_t slot = 0; slot < k; ++slot) chosen_sum += p[ids[t * k + slot]];
    for (std::size_t slot = 0; slot < k; ++slot) {
      const double weight = options.norm_topk_prob ? p[ids[t * k + slot]] / chosen_sum : p[ids[t * k + slot]];
      result.weights.push_back(weight * options.routed_scaling_factor);
    }
  }
  return result;
}

double auxiliary_loss(const Routing& routing, std::size_t num_experts, const Auxiliary& auxiliary) {
  double loss = 0.0;
  for (std::size_t t = 0; t < routing.lse.size(); ++t) {
    for (std::size_t i = 0; i < num_experts && !auxiliary.balance.empty(); ++i) {
      loss += auxiliary.balance[t / auxiliary.tokens_per_set * num_experts + i] * routing.probs[t * num_experts + i];
    }
    loss += auxiliary.z_scale / 2.0 * routing.lse[t] * routing.lse[t];
  }
  return loss;
}

Vector route_backward(const Vector& scores, std::size_t num_experts, const Ids& ids, const Vector& dweights,
                      const TopKOptions& options, const Auxiliary& auxiliary) {
  const Routing routing = route(scores, num_experts, ids, options);
  const auto k = static_cast<std::size_t>(options.top_k);
  Vector dscores;
  for (std::size_t t = 0; t < routing.lse.size(); ++t) {
    const double* p = &routing.probs[t * num_experts];
    const std::size_t set = t / auxiliary.tokens_per_set;
    const Vector dp =
        probability_gradient(p, num_experts, &ids[t * k], dweights.empty() ? nullptr : &dweights[t * k], options,
                             auxiliary.balance.empty() ? nullptr : &auxiliary.balance[set * num_experts]);
    const double mean = std::inner_product(dp.begin(), dp.end(), p, 0.0);
    for (std::size_t i = 0; i < num_experts; ++i) {  // the softmax, then the log of its normaliser
      dscores.push_back(p[i] * (dp[i] - mean) + auxiliary.z_scale * routing.lse[t] * p[i]);
    }
  }
  return dscores;
}

Ids expert_counts(const Ids& ids, const Ids& token_offsets, std::size_t num_experts, std::size_t tokens_per_set) {
  const std::size_t num_tokens = token_offsets.size() - 1;
  Ids counts((num_tokens + tokens_per_set - 1) / tokens_per_set * num_experts, 0);
  for (std::size_t t = 0; t < num_tokens; ++t) {
    for (auto slot = static_cast<std::size_t>(token_offsets[t]); slot < static_cast<std::size_t>(token_offsets[t + 1]);
         ++slot) {
      counts[t / tokens_per_set * num_experts + static_cast<std::size_t>(ids[slot])] += 1;
    }
  }
  return counts;
}

Vector set_sums(const Vector& x, std::size_t num_experts, std::size_t tokens_per_set) {
  const std::size_t num_tokens = x.size() / num_experts;
  Vector sums((num_tokens + tokens_per_set - 1) / tokens_per_set * num_experts, 0.0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    sums[i / num_experts / tokens_per_set * num_experts + i % num_experts] += x[i];
  }
  return sums;
}

RoutingStatistics routing_statistics(const Vector& probs, std::size_t num_experts, const Ids& ids,
                                     const Ids& token_offsets) {
  RoutingStatistics sums;
  for (std::size_t t = 0; t + 1 < token_offsets.size(); ++t) {
    std::vector<bool> is_chosen(num_experts, false);
    for (auto slot = static_cast<std::size_t>(token_offsets[t]); slot < static_cast<std::size_t>(token_offsets[t + 1]);
         ++slot) {
      is_chosen[static_cast<std::size_t>(ids[slot])] = true;
    }
    Vector chosen;
    Vector others;
    for (std::size_t i = 0; i < num_experts; ++i) {
      const double p = probs[t * num_experts + i];
      if (p > 0.0) sums.entropy -= p * std::log(p);
      (is_chosen[i] ? chosen : others).push_back(p);
    }
    if (chosen.empty() || others.empty()) continue;
    sums.margin += *std::min_element(chosen.begin(), chosen.end()) - *std::max_element(others.begin(), others.end());
  }
  return sums;
}

}  // namespace artel::reference
