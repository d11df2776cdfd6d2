#pragma once
// The validation losses of several runs at one point of training.

#include <optional>
#include <string>
#include <vector>

#include "report/comparison.h"

namespace artel {

/// Losses and scores of runs; seeds are in the order of the runs.
struct LossesAt {
  FinalLosses overall;
  std::vector<SetLosses> sets;    ///< in the order of the rows; seeds without a finite loss are left out
  std::vector<SetLosses> scores;  ///< likewise
  double tokens = 0.0;            ///< mean over the runs
  double seconds = 0.0;           ///< mean over the runs; NaN when unknown
};

/// Those of the runs `members` that have validation rows.
std::vector<const Run*> validated_runs(const std::vector<Run>& runs, const std::vector<size_t>& members);

/// The largest token count at which every run has a validation row, of which each needs one at least; none without such
/// a count.
std::optional<int64_t> last_common_tokens(const std::vector<const Run*>& runs);

/// The losses at `tokens`, at which every run has a validation row; without it those of each run's last row.
LossesAt losses_at(const std::vector<const Run*>& runs, std::optional<int64_t> tokens);

}  // namespace artel
