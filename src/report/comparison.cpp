#include "report/comparison.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "report/differences.h"
#include "report/final_losses.h"
#include "report/group_curves.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void take_final_losses(Group& group, const std::vector<const Run*>& runs, std::vector<std::string>& notes) {
  const std::optional<int64_t> end = last_common_tokens(runs);
  const auto shorter = [&](const Run* run) { return run->validation.back().tokens != *end; };
  if (!end) {
    notes.push_back(concat(group.name, ": its runs share no validated token count; each counts with its last"));
  } else if (std::any_of(runs.begin(), runs.end(), shorter)) {
    notes.push_back(concat(group.name, ": its runs end at different points; compared at ", *end, " tokens"));
  }
  LossesAt losses = losses_at(runs, end);
  group.final_losses = std::move(losses.overall);
  group.sets = std::move(losses.sets);
  group.scores = std::move(losses.scores);
  group.tokens = losses.tokens;
  group.seconds = losses.seconds;
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
  std::vector<Track> tracks;
  for (const size_t index : members.runs) {
    const Run& run = runs[index];
    if (run.validation.empty()) {
      notes.push_back(concat(run.directory, ": no validation rows, so no part in the final losses"));
    } else {
      tracks.push_back(validation_track(run));
    }
  }
  const std::vector<const Run*> validated = validated_runs(runs, members.runs);
  if (validated.empty()) {
    group.tokens = static_cast<double>(first.last_tokens());
    group.seconds = first.last_seconds();
  } else {
    take_final_losses(group, validated, notes);
  }
  group.validation = align_tracks(tracks);
  group.flops = group.tokens * group.flops_per_token;
  group.tokens_per_second = group.seconds > 0.0 ? group.tokens / group.seconds : kNaN;
  return group;
}

std::optional<int64_t> integer_at(const Run& run, const char* path) {
  const Json::json_pointer pointer(path);
  if (!run.config.contains(pointer) || !run.config.at(pointer).is_number_integer()) return std::nullopt;
  return run.config.at(pointer).get<int64_t>();
}

// Windows read of each validation set; 0: all of them.
int64_t num_validation_windows(const Run& run) {
  return integer_at(run, "/validation/batches").value_or(0) * integer_at(run, "/train/global_batch_size").value_or(0);
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

// Whether groups were validated on other text, or on the same cut into other windows.
bool validation_differs(const Comparison& comparison) {
  const auto windows = [&](const Group& group) { return num_validation_windows(comparison.runs[group.runs.front()]); };
  const std::vector<Group>& groups = comparison.groups;
  return any_key_differs(comparison.config, {"data.validation", "data.tokenizer", "model.max_position_embeddings"}) ||
         std::any_of(groups.begin(), groups.end(),
                     [&](const Group& group) { return windows(group) != windows(groups.front()); });
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

// Where the pairs that do not end at equal tokens were compared, and which could not be.
void note_differences(Comparison& comparison) {
  std::vector<std::string> apart;
  for (const Difference& difference : comparison.differences) {
    const Group& a = comparison.groups[difference.a];
    const Group& b = comparison.groups[difference.b];
    if (!difference.loss.delta) continue;
    if (!difference.tokens) {
      apart.push_back(concat(a.name, " - ", b.name));
    } else if (*difference.tokens != a.tokens || *difference.tokens != b.tokens) {
      comparison.notes.push_back(concat(a.name, " - ", b.name, ": compared at ",
                                        static_cast<int64_t>(*difference.tokens),
                                        " tokens, the last that all their runs validated at"));
    }
  }
  if (apart.empty()) return;
  comparison.notes.push_back(
      concat("no validation of all runs at equal tokens within 2 % of both ends, so no verdict: ", join(apart, ", ")));
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
  comparison.differences = compare_groups(comparison.runs, comparison.groups, options);
  note_groups(comparison);
  note_differences(comparison);
  return comparison;
}

}  // namespace artel
