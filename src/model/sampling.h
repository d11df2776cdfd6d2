#pragma once

#include <cstdint>
#include <span>
#include <vector>

// Shapes: V vocab_size.

namespace artel {

/// How the next id is chosen from its logits. Applied in this order: temperature, top_k, top_p.
struct SamplingOptions {
  double temperature = 1.0;  ///< logits are divided by it; 0: the id with the largest logit, the lowest among equals
  std::int64_t top_k = 0;    ///< only the k most probable ids; 0: all. Fan et al., ACL 2018
  double top_p = 1.0;        ///< only the fewest most probable ids that together have at least this probability, in
                             ///< (0, 1]. Holtzman et al., ICLR 2020
  std::int64_t num_ids = 0;  ///< only ids below this one, for a vocabulary larger than its tokenizer; 0: all
  /// Ids that are never chosen, ascending, for a tokenizer with gaps in its ids.
  std::vector<std::int32_t> missing_ids = {};
};

/// Errors: a value outside its range, naming it.
void check_sampling_options(const SamplingOptions& options);

struct Candidate {
  std::int32_t id = 0;
  double probability = 0.0;
};

/// The ids that may come next with their probabilities, which sum to 1. logits [V]. With top_k or top_p the most
/// probable comes first and among equals the lower id; else they are in the order of ids. Never empty.
/// Errors: options out of range; a logit that is not finite, naming the id.
std::vector<Candidate> sampling_candidates(std::span<const float> logits, const SamplingOptions& options);

/// The id at `uniform` in [0, 1) of the cumulative distribution of the candidates. logits [V]. Errors: the same.
std::int32_t sample_id(std::span<const float> logits, const SamplingOptions& options, double uniform);

}  // namespace artel
