#pragma once
// Pairs of groups: difference of the final losses, verdict, and what each needs to reach the other's loss.

#include <string>
#include <vector>

#include "report/comparison.h"

namespace artel {

/// Every pair a < b of `groups`, whose members are indices into `runs`. A pair is compared at the last token count at
/// which all its runs validated; when that lies more than 2 % before the end of a side, or there is none, the
/// difference is that of the ends and there is no verdict. Seeds that both sides have are paired when there are at
/// least two of them; else two or more seeds on each side are compared by Welch's test; with fewer there is no verdict.
std::vector<Difference> compare_groups(const std::vector<Run>& runs, const std::vector<Group>& groups,
                                       const CompareOptions& options);

/// The phrase for losses, overall or of a set, that have a difference and no test.
std::string why_no_verdict(const Difference& difference);

/// What `group` needs to reach `target`.
Reach reach_of(const Group& group, double target);

}  // namespace artel
