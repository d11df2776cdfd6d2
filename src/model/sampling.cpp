#include "model/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr const char* kWhere = "generate";

std::size_t num_choices(std::span<const float> logits, const SamplingOptions& options) {
  const std::size_t limit = options.num_ids > 0 ? static_cast<std::size_t>(options.num_ids) : logits.size();
  const std::size_t count = std::min(limit, logits.size());
  if (count == 0) fail(kWhere, "required at least one logit, found none");
  for (std::size_t id = 0; id < count; ++id) {
    if (!std::isfinite(logits[id])) {
      fail(kWhere, concat("required finite logits, found ", logits[id], " for id ", id, "; the weights are damaged"));
    }
  }
  return count;
}

// exp((logit - largest) / temperature), not yet divided by the sum.
std::vector<Candidate> weighed(std::span<const float> logits, std::size_t count, double temperature) {
  const double largest = *std::max_element(logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(count));
  std::vector<Candidate> candidates(count);
  for (std::size_t id = 0; id < count; ++id) {
    const double distance = static_cast<double>(logits[id]) - largest;
    candidates[id] = {static_cast<std::int32_t>(id), distance == 0.0 ? 1.0 : std::exp(distance / temperature)};
  }
  return candidates;
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
}

std::vector<Candidate> sampling_candidates(std::span<const float> logits, const SamplingOptions& options) {
  check_sampling_options(options);
  const std::size_t count = num_choices(logits, options);
  if (options.temperature == 0.0) {
    const auto best = std::max_element(logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(count));
    return {{static_cast<std::int32_t>(best - logits.begin()), 1.0}};
  }
  std::vector<Candidate> candidates = weighed(logits, count, options.temperature);
  const auto more_probable = [&](const Candidate& a, const Candidate& b) {
    const float left = logits[static_cast<std::size_t>(a.id)];
    const float right = logits[static_cast<std::size_t>(b.id)];
    return left != right ? left > right : a.id < b.id;
  };
  const bool limited = options.top_k > 0 && static_cast<std::size_t>(options.top_k) < count;
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
