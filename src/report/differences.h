#pragma once
// Pairs of groups: difference of the final losses, verdict, and what each needs to reach the other's loss.

#include <vector>

#include "report/comparison.h"

namespace artel {

/// Every pair a < b of `groups`. Seeds that both sides have are paired when there are at least two of them; else two or
/// more seeds on each side are compared by Welch's test; with fewer there is no verdict.
std::vector<Difference> compare_groups(const std::vector<Group>& groups, const CompareOptions& options);

/// What `group` needs to reach `target`.
Reach reach_of(const Group& group, double target);

}  // namespace artel
