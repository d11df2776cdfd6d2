#include "report/differences.h"

#include <algorithm>
#include <cmath>

#include "util/text.h"

namespace artel {
namespace {

constexpr double kConfidence = 0.95;

std::vector<int64_t> common_seeds(const FinalLosses& a, const FinalLosses& b) {
  std::vector<int64_t> common;
  for (const SeedLoss& left : a.seeds) {
    const auto same = [&](const SeedLoss& right) { return right.seed == left.seed; };
    if (std::any_of(b.seeds.begin(), b.seeds.end(), same)) common.push_back(left.seed);
  }
  return common;
}

std::vector<double> losses_of_seeds(const FinalLosses& losses, const std::vector<int64_t>& seeds) {
  std::vector<double> values;
  for (const int64_t seed : seeds) {
    const auto same = [&](const SeedLoss& item) { return item.seed == seed; };
    values.push_back(std::find_if(losses.seeds.begin(), losses.seeds.end(), same)->loss);
  }
  return values;
}

// Paired over `paired_seeds` unless there are none.
LossDifference difference_of(const FinalLosses& a, const FinalLosses& b, const std::vector<int64_t>& paired_seeds) {
  LossDifference result;
  if (a.seeds.empty() || b.seeds.empty()) return result;
  result.delta = *a.mean() - *b.mean();
  if (!paired_seeds.empty()) {
    result.estimate = paired_difference(losses_of_seeds(a, paired_seeds), losses_of_seeds(b, paired_seeds));
    result.delta = result.estimate->delta;
  } else if (a.seeds.size() >= 2 && b.seeds.size() >= 2) {
    result.estimate = welch_difference(a.values(), b.values());
  } else {
    return result;
  }
  result.ci95 = confidence_interval(*result.estimate, kConfidence);
  result.p_value = two_sided_p_value(*result.estimate);
  result.significant = result.ci95->low > 0.0 || result.ci95->high < 0.0;
  return result;
}

std::string verdict_of(const Difference& difference) {
  const LossDifference& loss = difference.loss;
  if (!loss.delta) return "no verdict: no validation loss";
  if (!loss.significant) return "no verdict: one seed";
  const bool equivalent = difference.equivalence && difference.equivalence->equivalent;
  std::string verdict = "not significant";
  if (*loss.significant) verdict = *loss.delta < 0.0 ? "significantly lower" : "significantly higher";
  if (!equivalent) return verdict;
  const std::string within = concat("within ", difference.equivalence->margin);
  return *loss.significant ? concat(verdict, ", ", within) : concat("equivalent ", within);
}

Difference compare_pair(const std::vector<Group>& groups, size_t a, size_t b, const CompareOptions& options) {
  const Group& left = groups[a];
  const Group& right = groups[b];
  Difference result;
  result.a = a;
  result.b = b;
  std::vector<int64_t> seeds = common_seeds(left.final_losses, right.final_losses);
  if (seeds.size() >= 2) result.paired_seeds = seeds;
  result.loss = difference_of(left.final_losses, right.final_losses, result.paired_seeds);
  if (result.loss.estimate) {
    if (options.equivalence_margin) {
      result.equivalence = equivalence_test(*result.loss.estimate, *options.equivalence_margin);
    }
    result.method = result.paired_seeds.empty() ? concat("Welch t, ", left.final_losses.seeds.size(), " and ",
                                                         right.final_losses.seeds.size(), " seeds")
                                                : concat("paired t over ", result.paired_seeds.size(), " seeds");
  }
  result.verdict = verdict_of(result);
  if (result.loss.delta) {
    result.a_reaches_b = reach_of(left, *right.final_losses.mean());
    result.b_reaches_a = reach_of(right, *left.final_losses.mean());
  }
  for (const SetLosses& set : left.sets) {
    const auto same = [&](const SetLosses& other) { return other.name == set.name; };
    const auto other = std::find_if(right.sets.begin(), right.sets.end(), same);
    if (other == right.sets.end()) continue;
    std::vector<int64_t> set_seeds = common_seeds(set.losses, other->losses);
    if (set_seeds.size() < 2) set_seeds.clear();
    result.sets.emplace_back(set.name, difference_of(set.losses, other->losses, set_seeds));
  }
  return result;
}

}  // namespace

Reach reach_of(const Group& group, double target) {
  Reach reach;
  reach.target = target;
  const AlignedTracks& curve = group.validation;
  for (size_t i = 0; i < curve.num_points() && curve.x[i] <= group.tokens; ++i) {
    const double loss = curve.mean(i);
    if (loss > target) continue;
    double share = 1.0;  // of the way from the point before
    if (i > 0) share = (curve.mean(i - 1) - target) / (curve.mean(i - 1) - loss);
    const auto between = [&](const std::vector<double>& values) {
      return i == 0 ? values[0] : values[i - 1] + share * (values[i] - values[i - 1]);
    };
    reach.tokens = between(curve.x);
    reach.flops = *reach.tokens * group.flops_per_token;
    if (const double seconds = between(curve.seconds); std::isfinite(seconds)) reach.seconds = seconds;
    break;
  }
  return reach;
}

std::vector<Difference> compare_groups(const std::vector<Group>& groups, const CompareOptions& options) {
  std::vector<Difference> differences;
  for (size_t a = 0; a < groups.size(); ++a) {
    for (size_t b = a + 1; b < groups.size(); ++b) differences.push_back(compare_pair(groups, a, b, options));
  }
  std::vector<double> p_values;
  for (const Difference& difference : differences) {
    if (difference.loss.p_value) p_values.push_back(*difference.loss.p_value);
  }
  const std::vector<double> adjusted = holm_adjusted(p_values);
  size_t next = 0;
  for (Difference& difference : differences) {
    if (difference.loss.p_value) difference.p_holm = adjusted[next++];
  }
  return differences;
}

}  // namespace artel
