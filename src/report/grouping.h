#pragma once
// Which runs are seeds of one thing, what that thing is called, and in which config keys the things differ.

#include <string>
#include <utility>
#include <vector>

#include "report/run_reader.h"

namespace artel {

/// A resolved config as (dotted key, value as text), in the config's order. Lists of scalars are one value, lists of
/// objects are numbered: data.train[0].path. Blocks of routing methods that the config does not use are left out.
std::vector<std::pair<std::string, std::string>> flatten_config(const Json& config);

/// Runs that differ only in seed.
struct RunGroup {
  std::string name;          ///< unique among the groups
  std::vector<size_t> runs;  ///< indices into the runs given, in ascending seed order; no seed twice
};

/// The changes on resuming that make the losses of `run` others than those of a run that had its config from the start:
/// keys that need --allow-change, train.steps, validation.batches, and train.micro_batch_size where the load-balance
/// loss is that of a micro-batch. Not so where the run computes, its layout, and what it writes.
std::vector<ResumedChange> changes_of_losses(const Run& run);

/// "optimizer.lr (was 0.001, now 0.002) after step 4, …"; empty without any.
std::string change_list(const std::vector<ResumedChange>& changes);

/// Groups `runs` by config, in the order of their first member. Keys that leave the losses alone do not count
/// (leaves_losses_alone); the resolved device and precision do, and changes_of_losses. Runs with one config and one
/// seed (say, of two versions of the program) go to groups of their own.
std::vector<RunGroup> group_runs(const std::vector<Run>& runs);

/// A config key with its value in each group, "-" where a group's config lacks it.
struct ConfigRow {
  std::string key;
  std::vector<std::string> values;
  bool differs = false;
};

/// Every key of the groups' configs but run.*, and what changed on resuming where anything did; keys that differ come
/// first, otherwise in the config's order.
std::vector<ConfigRow> compare_configs(const std::vector<Run>& runs, const std::vector<RunGroup>& groups);

}  // namespace artel
