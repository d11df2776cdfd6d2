#include "report/differences.h"

#include <algorithm>
#include <cmath>

#include "report/final_losses.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr double kConfidence = 0.95;
constexpr double kSameTokens = 0.02;  // of the tokens at a group's end

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

// Paired where two or more seeds are on both sides; without `testable` the observed difference alone.
LossDifference difference_of(const FinalLosses& a, const FinalLosses& b, bool testable) {
  LossDifference result;
  if (a.seeds.empty() || b.seeds.empty()) return result;
  result.delta = *a.mean() - *b.mean();
  const std::vector<int64_t> paired_seeds = common_seeds(a, b);
  if (paired_seeds.size() >= 2) {
    result.estimate = paired_difference(losses_of_seeds(a, paired_seeds), losses_of_seeds(b, paired_seeds));
    result.delta = result.estimate->delta;
  } else if (a.seeds.size() >= 2 && b.seeds.size() >= 2) {
    result.estimate = welch_difference(a.values(), b.values());
  }
  if (!testable) result.estimate.reset();
  if (!result.estimate) return result;
  result.ci95 = confidence_interval(*result.estimate, kConfidence);
  result.p_value = two_sided_p_value(*result.estimate);
  result.significant = result.ci95->low > 0.0 || result.ci95->high < 0.0;
  return result;
}

std::string verdict_of(const Difference& difference) {
  const LossDifference& loss = difference.loss;
  if (!loss.delta) return "no verdict: no validation loss";
  if (!loss.significant) return why_no_verdict(difference);
  const bool equivalent = difference.equivalence && difference.equivalence->equivalent;
  std::string verdict = "not significant";
  if (*loss.significant) verdict = *loss.delta < 0.0 ? "significantly lower" : "significantly higher";
  if (!equivalent) return verdict;
  const std::string within = concat("within ", difference.equivalence->margin);
  return *loss.significant ? concat(verdict, ", ", within) : concat("equivalent ", within);
}

// The last token count at which all runs of both groups validated, unless it lies too far before the end of a group.
std::optional<int64_t> same_tokens(const std::vector<Run>& runs, const Group& a, const Group& b) {
  std::vector<size_t> members = a.runs;
  members.insert(members.end(), b.runs.begin(), b.runs.end());
  const std::optional<int64_t> tokens = last_common_tokens(validated_runs(runs, members));
  const double least = (1.0 - kSameTokens) * std::max(a.tokens, b.tokens);
  return tokens && static_cast<double>(*tokens) >= least ? tokens : std::nullopt;
}

void compare_losses(const LossesAt& a, const LossesAt& b, const CompareOptions& options, Difference& result) {
  const bool testable = result.tokens.has_value();
  const std::vector<int64_t> seeds = common_seeds(a.overall, b.overall);
  if (seeds.size() >= 2) result.paired_seeds = seeds;
  result.loss = difference_of(a.overall, b.overall, testable);
  if (result.loss.estimate) {
    if (options.equivalence_margin) {
      result.equivalence = equivalence_test(*result.loss.estimate, *options.equivalence_margin);
    }
    result.method = result.paired_seeds.empty()
                        ? concat("Welch t, ", a.overall.seeds.size(), " and ", b.overall.seeds.size(), " seeds")
                        : concat("paired t over ", result.paired_seeds.size(), " seeds");
  }
  result.verdict = verdict_of(result);
  for (const SetLosses& set : a.sets) {
    const auto same = [&](const SetLosses& other) { return other.name == set.name; };
    const auto other = std::find_if(b.sets.begin(), b.sets.end(), same);
    if (other == b.sets.end()) continue;
    result.sets.emplace_back(set.name, difference_of(set.losses, other->losses, testable));
  }
}

Difference compare_pair(const std::vector<Run>& runs, const std::vector<Group>& groups, size_t a, size_t b,
                        const CompareOptions& options) {
  const Group& left = groups[a];
  const Group& right = groups[b];
  Difference result;
  result.a = a;
  result.b = b;
  if (left.final_losses.seeds.empty() || right.final_losses.seeds.empty()) {
    result.verdict = verdict_of(result);
    return result;
  }
  const std::optional<int64_t> tokens = same_tokens(runs, left, right);
  if (tokens) result.tokens = static_cast<double>(*tokens);
  const auto losses_of = [&](const Group& group) {
    const std::vector<const Run*> members = validated_runs(runs, group.runs);
    return losses_at(members, tokens ? tokens : last_common_tokens(members));
  };
  compare_losses(losses_of(left), losses_of(right), options, result);
  result.a_reaches_b = reach_of(left, *right.final_losses.mean());
  result.b_reaches_a = reach_of(right, *left.final_losses.mean());
  return result;
}

}  // namespace

std::string why_no_verdict(const Difference& difference) {
  return difference.tokens ? "no verdict: one seed" : "no verdict: different tokens";
}

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

std::vector<Difference> compare_groups(const std::vector<Run>& runs, const std::vector<Group>& groups,
                                       const CompareOptions& options) {
  std::vector<Difference> differences;
  for (size_t a = 0; a < groups.size(); ++a) {
    for (size_t b = a + 1; b < groups.size(); ++b) differences.push_back(compare_pair(runs, groups, a, b, options));
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
