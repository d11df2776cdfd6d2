#include "report/comparison.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "report/differences.h"
#include "report/group_curves.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kOwnEnd = -1;

// The largest token count at which every run has a validation row; kOwnEnd when there is none.
int64_t common_end(const std::vector<const Run*>& runs) {
  std::set<int64_t> common;
  for (const ValidationRow& row : runs.front()->validation) common.insert(row.tokens);
  for (const Run* run : runs) {
    std::set<int64_t> both;
    for (const ValidationRow& row : run->validation) {
      if (common.count(row.tokens) > 0) both.insert(row.tokens);
    }
    common = std::move(both);
  }
  return common.empty() ? kOwnEnd : *common.rbegin();
}

const ValidationRow& row_at(const Run& run, int64_t tokens) {
  const auto found = std::find_if(run.validation.rbegin(), run.validation.rend(),
                                  [&](const ValidationRow& row) { return row.tokens == tokens; });
  return found == run.validation.rend() ? run.validation.back() : *found;
}

void add_set_loss(std::vector<SetLosses>& sets, const std::string& name, const SeedLoss& loss) {
  const auto found = std::find_if(sets.begin(), sets.end(), [&](const SetLosses& set) { return set.name == name; });
  if (found != sets.end()) {
    found->losses.seeds.push_back(loss);
  } else {
    sets.push_back({name, {{loss}}});
  }
}

void take_final_losses(Group& group, const std::vector<const Run*>& runs, std::vector<std::string>& notes) {
  const int64_t end = common_end(runs);
  const auto shorter = [&](const Run* run) { return run->validation.back().tokens != end; };
  if (end == kOwnEnd) {
    notes.push_back(concat(group.name, ": its runs share no validated token count; each counts with its last"));
  } else if (std::any_of(runs.begin(), runs.end(), shorter)) {
    notes.push_back(concat(group.name, ": its runs end at different points; compared at ", end, " tokens"));
  }
  double tokens = 0.0;
  double seconds = 0.0;
  for (const Run* run : runs) {
    const ValidationRow& row = row_at(*run, end);
    group.final_losses.seeds.push_back({run->seed, row.val_loss});
    for (const auto& set : row.sets) {
      if (std::isfinite(set.second)) add_set_loss(group.sets, set.first, {run->seed, set.second});
    }
    for (const auto& score : row.scores) {
      if (std::isfinite(score.second)) add_set_loss(group.scores, score.first, {run->seed, score.second});
std::optional<int64_t> integer_at(const Run& run, const char* path) {
  const Json::json_pointer pointer(path);
  if (!run.config.contains(pointer) || !run.config.at(pointer).is_number_integer()) return std::nullopt;
  return run.config.at(pointer).get<int64_t>();
}

// Windows read of each validation set; 0: all of them.
int64_t num_validation_windows(const Run& run) {
  return integer_at(run, "/validation/batches").value_or(0) * integer_at(run, "/train/global_batch_size").value_or(0);
}

    }
    tokens += static_cast<double>(row.tokens);
    seconds += row.seconds;
  }
  group.tokens = tokens / static_cast<double>(runs.size());
  group.seconds = seconds / static_cast<double>(runs.size());
}

Group make_group(const std::vector<Run>& runs, const RunGroup& members, std::vector<std::string>& notes) {
  Group group;
  group.name = members.name;
  group.runs = members.runs;
  const Run& first = runs[members.runs.front()];
  group.routing = first.routing;
  group.total_parameters = first.total_parameters;
  group.active_parameters = first.active_parameters;
  group.flops_per_token = first.flops_per_token;
  std::vector<const Run*> validated;
  std::vector<Track> tracks;
  for (const size_t index : members.runs) {
    const Run& run = runs[index];
    if (run.validation.empty()) {
      notes.push_back(concat(run.directory, ": no validation rows, so no part in the final losses"));
      continue;
    }
    validated.push_back(&run);
    tracks.push_back(validation_track(run));
  }
  if (validated.empty()) {
    group.tokens = static_cast<double>(first.last_tokens());
    group.seconds = first.last_seconds();
  } else {
    take_final_losses(group, validated, notes);
  }
// Whether groups were validated on other text, or on the same cut into other windows.
bool validation_differs(const Comparison& comparison) {
  const auto windows = [&](const Group& group) { return num_validation_windows(comparison.runs[group.runs.front()]); };
  const std::vector<Group>& groups = comparison.groups;
  return any_key_differs(comparison.config, {"data.validation", "data.tokenizer", "model.max_position_embeddings"}) ||
         std::any_of(groups.begin(), groups.end(),
                     [&](const Group& group) { return windows(group) != windows(groups.front()); });
}

  group.validation = align_tracks(tracks);
  group.flops = group.tokens * group.flops_per_token;
  group.tokens_per_second = group.seconds > 0.0 ? group.tokens / group.seconds : kNaN;
  return group;
}

void note_runs(const std::vector<Run>& runs, std::vector<std::string>& notes) {
  for (const Run& run : runs) {
    for (const std::string& note : run.notes) notes.push_back(concat(run.directory, ": ", note));
    const std::string changes = change_list(changes_of_losses(run));
    if (!changes.empty()) {
      notes.push_back(
          concat(run.directory, ": resumed with other values, so no seed of runs that kept theirs: ", changes));
    }
    const auto wanted = integer_at(run, "/train/steps");
    if (wanted && run.last_step() < *wanted) {
      notes.push_back(concat(run.directory, ": unfinished, step ", run.last_step(), " of ", *wanted));
    }
  }
}

// Names of the groups that differ from the first by more than 2 % in `quantity`.
template <typename Quantity>
std::vector<std::string> unmatched(const std::vector<Group>& groups, Quantity quantity) {
  std::vector<std::string> names;
  for (const Group& group : groups) {
    const double reference = quantity(groups.front());
    if (std::abs(quantity(group) - reference) > 0.02 * std::abs(reference)) names.push_back(group.name);
  }
  return names;
}

bool any_key_differs(const std::vector<ConfigRow>& config, const std::vector<std::string>& prefixes) {
  return std::any_of(config.begin(), config.end(), [&](const ConfigRow& row) {
    return row.differs && std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) {
             return row.key.compare(0, prefix.size(), prefix) == 0;
           });
  });
}

// What makes the final losses hard to compare.
void note_groups(Comparison& comparison) {
  const std::vector<Group>& groups = comparison.groups;
  const std::string& first = groups.front().name;
  const auto differ = [&](const char* what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    comparison.notes.push_back(concat(what, " differ from ", first, " by more than 2 %: ", join(names, ", ")));
  };
  differ("tokens seen", unmatched(groups, [](const Group& group) { return group.tokens; }));
  differ("FLOPs per token", unmatched(groups, [](const Group& group) { return group.flops_per_token; }));
  if (validation_differs(comparison)) {
    comparison.notes.push_back(
        "validation data differ between groups in text or windows (see the config), so their losses do not compare");
  }
  if (any_key_differs(comparison.config, {"model.num_experts", "model.num_experts_per_tok"})) {
    comparison.notes.push_back("groups differ in experts or experts per token, so max violation does not compare");
  }
  for (const Group& group : groups) {
    std::set<int64_t> threads;
    for (const size_t run : group.runs) threads.insert(comparison.runs[run].threads);
    if (threads.size() > 1) {
      comparison.notes.push_back(concat(group.name, ": runs had different numbers of threads; times do not compare"));
    }
  }
}

}  // namespace

std::vector<double> FinalLosses::values() const {
  std::vector<double> result;
  for (const SeedLoss& item : seeds) result.push_back(item.loss);
  return result;
}

std::optional<double> FinalLosses::mean() const {
  if (seeds.empty()) return std::nullopt;
  return mean_of(values());
}

std::optional<double> FinalLosses::standard_deviation() const {
  if (seeds.size() < 2) return std::nullopt;
  return standard_deviation_of(values());
}

Comparison compare_runs(std::vector<Run> runs, const CompareOptions& options) {
  if (runs.empty()) fail("compare", "required at least one run directory, found none");
  if (options.equivalence_margin && !(*options.equivalence_margin > 0.0)) {
    fail("compare", concat("equivalence margin required a loss above 0, found ", *options.equivalence_margin));
  }
  std::set<std::string> directories;
  for (const Run& run : runs) {
    const std::string path = std::filesystem::weakly_canonical(run.directory).string();
    if (!directories.insert(path).second) fail(run.directory, "required each run directory once, found it twice");
  }
  Comparison comparison;
  comparison.options = options;
  comparison.runs = std::move(runs);
  note_runs(comparison.runs, comparison.notes);
  const std::vector<RunGroup> members = group_runs(comparison.runs);
  for (const RunGroup& group : members) {
    comparison.groups.push_back(make_group(comparison.runs, group, comparison.notes));
  }
  comparison.config = compare_configs(comparison.runs, members);
  comparison.differences = compare_groups(comparison.groups, options);
  note_groups(comparison);
  return comparison;
}

}  // namespace artel
