#include "report/final_losses.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace artel {
namespace {

const ValidationRow& row_at(const Run& run, std::optional<int64_t> tokens) {
  if (!tokens) return run.validation.back();
  return *std::find_if(run.validation.rbegin(), run.validation.rend(),
                       [&](const ValidationRow& row) { return row.tokens == *tokens; });
}

void add_set_loss(std::vector<SetLosses>& sets, const std::string& name, const SeedLoss& loss) {
  if (!std::isfinite(loss.loss)) return;
  const auto found = std::find_if(sets.begin(), sets.end(), [&](const SetLosses& set) { return set.name == name; });
  if (found != sets.end()) {
    found->losses.seeds.push_back(loss);
  } else {
    sets.push_back({name, {{loss}}});
  }
}

}  // namespace

std::vector<const Run*> validated_runs(const std::vector<Run>& runs, const std::vector<size_t>& members) {
  std::vector<const Run*> validated;
  for (const size_t index : members) {
    if (!runs[index].validation.empty()) validated.push_back(&runs[index]);
  }
  return validated;
}

std::optional<int64_t> last_common_tokens(const std::vector<const Run*>& runs) {
  std::set<int64_t> common;
  for (const ValidationRow& row : runs.front()->validation) common.insert(row.tokens);
  for (const Run* run : runs) {
    std::set<int64_t> both;
    for (const ValidationRow& row : run->validation) {
      if (common.count(row.tokens) > 0) both.insert(row.tokens);
    }
    common = std::move(both);
  }
  if (common.empty()) return std::nullopt;
  return *common.rbegin();
}

LossesAt losses_at(const std::vector<const Run*>& runs, std::optional<int64_t> tokens) {
  LossesAt result;
  for (const Run* run : runs) {
    const ValidationRow& row = row_at(*run, tokens);
    result.overall.seeds.push_back({run->seed, row.val_loss});
    for (const auto& set : row.sets) add_set_loss(result.sets, set.first, {run->seed, set.second});
    for (const auto& score : row.scores) add_set_loss(result.scores, score.first, {run->seed, score.second});
    result.tokens += static_cast<double>(row.tokens);
    result.seconds += row.seconds;
  }
  result.tokens /= static_cast<double>(runs.size());
  result.seconds /= static_cast<double>(runs.size());
  return result;
}

}  // namespace artel
