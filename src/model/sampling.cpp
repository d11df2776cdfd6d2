#include "model/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr const char* kWhere = "generate";

// The ids that may be chosen, ascending.
std::vector<Candidate> possible_ids(std::span<const float> logits, const SamplingOptions& options) {
  const std::size_t limit = options.num_ids > 0 ? static_cast<std::size_t>(options.num_ids) : logits.size();
  const std::size_t count = std::min(limit, logits.size());
  std::vector<Candidate> candidates;
  candidates.reserve(count);
  auto missing = options.missing_ids.begin();
  for (std::size_t i = 0; i < count; ++i) {
    if (!std::isfinite(logits[i])) {
      fail(kWhere, concat("required finite logits, found ", logits[i], " for id ", i, "; the weights are damaged"));
    }
    const auto id = static_cast<std::int32_t>(i);
    while (missing != options.missing_ids.end() && *missing < id) ++missing;
    if (missing == options.missing_ids.end() || *missing != id) candidates.push_back({id, 0.0});
  }
  if (candidates.empty()) fail(kWhere, "required at least one logit of an id that a token has, found none");
  return candidates;
}

// exp((logit - largest) / temperature), not yet divided by the sum.
void weigh(std::vector<Candidate>& candidates, std::span<const float> logits, double largest, double temperature) {
  for (Candidate& candidate : candidates) {
    const double distance = static_cast<double>(logits[static_cast<std::size_t>(candidate.id)]) - largest;
    candidate.probability = distance == 0.0 ? 1.0 : std::exp(distance / temperature);
  }
}

void normalise(std::vector<Candidate>& candidates) {
  double sum = 0.0;
  for (const Candidate& candidate : candidates) sum += candidate.probability;
  for (Candidate& candidate : candidates) candidate.probability /= sum;
}

// Sorted candidates down to the first that brings their sum to top_p.
void cut_nucleus(std::vector<Candidate>& candidates, double top_p) {
  double sum = 0.0;
  std::size_t kept = 0;
  while (kept < candidates.size() && sum < top_p) sum += candidates[kept++].probability;
  candidates.resize(kept);
}

}  // namespace

void check_sampling_options(const SamplingOptions& options) {
  if (!(options.temperature >= 0.0) || !std::isfinite(options.temperature)) {
    fail(kWhere, concat("temperature required a number of 0 or more, found ", options.temperature));
  }
  if (options.top_k < 0) fail(kWhere, concat("top-k required a count, or 0 for all ids, found ", options.top_k));
  if (!(options.top_p > 0.0 && options.top_p <= 1.0)) {
    fail(kWhere, concat("top-p required a probability above 0 and up to 1, found ", options.top_p));
  }
  if (options.num_ids < 0) fail(kWhere, concat("required a number of ids of 0 or more, found ", options.num_ids));
  if (!std::is_sorted(options.missing_ids.begin(), options.missing_ids.end())) {
    fail(kWhere, "required missing ids that ascend, found others");
  }
}

std::vector<Candidate> sampling_candidates(std::span<const float> logits, const SamplingOptions& options) {
  check_sampling_options(options);
  std::vector<Candidate> candidates = possible_ids(logits, options);
  const auto logit = [&](const Candidate& candidate) { return logits[static_cast<std::size_t>(candidate.id)]; };
  const Candidate best = *std::max_element(candidates.begin(), candidates.end(),
                                           [&](const Candidate& a, const Candidate& b) { return logit(a) < logit(b); });
  if (options.temperature == 0.0) return {{best.id, 1.0}};
  weigh(candidates, logits, static_cast<double>(logit(best)), options.temperature);
  const auto more_probable = [&](const Candidate& a, const Candidate& b) {
    return logit(a) != logit(b) ? logit(a) > logit(b) : a.id < b.id;
  };
  const bool limited = options.top_k > 0 && static_cast<std::size_t>(options.top_k) < candidates.size();
  if (limited) {
    const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(options.top_k);
    std::partial_sort(candidates.begin(), end, candidates.end(), more_probable);
    candidates.erase(end, candidates.end());
  } else if (options.top_p < 1.0) {
    std::sort(candidates.begin(), candidates.end(), more_probable);
  }
  normalise(candidates);
  if (options.top_p < 1.0) {
    cut_nucleus(candidates, options.top_p);
    normalise(candidates);
  }
  return candidates;
}

std::int32_t sample_id(std::span<const float> logits, const SamplingOptions& options, double uniform) {
  const std::vector<Candidate> candidates = sampling_candidates(logits, options);
  double sum = 0.0;
  std::int32_t last = candidates.front().id;
  for (const Candidate& candidate : candidates) {
    if (candidate.probability == 0.0) continue;
    last = candidate.id;
    sum += candidate.probability;
    if (uniform < sum) break;  // rounding may leave the whole sum a little below 1: then the last one is meant
  }
  return last;
}

}  // namespace artel
