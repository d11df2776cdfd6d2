#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/schema.h"
#include "util/files.h"

namespace artel {

/// Seeds as `--seeds` writes them: numbers and ranges with both ends, separated by commas: "1..5", "1,2,7", "1..3,9".
/// Errors: anything else, a seed twice, more than 1000 seeds, a seed below 0.
std::vector<std::int64_t> parse_seeds(std::string_view text);

/// One run of a sweep.
struct SweepRun {
  std::string config_file;  ///< the file that its config comes from
  Config config;            ///< resolved, with run.name and run.seed of this run
  std::string directory;
};

/// Every config with every seed, the seeds in the outer loop, so that a sweep that is cut short leaves pairs. A run is
/// called <run.name>-seed<k>. Loads and checks everything before anything is trained: configs, and the data files that
/// they name. Errors: the first that is wrong; run.seed among the overrides; two configs of one name.
std::vector<SweepRun> plan_sweep(const std::vector<std::string>& config_files, const std::vector<std::int64_t>& seeds,
                                 const std::vector<std::string>& overrides);

enum class RunState {
  absent,      ///< nothing was trained
  unfinished,  ///< there is something to go on from, or to begin anew
  finished     ///< checkpoint and metrics of the last step are there
};

/// What is there of a run. Errors: its directory holds a run of another config, naming the keys; keys that leave the
/// losses alone may differ.
RunState examine_run(FileLayer& files, const SweepRun& run);

}  // namespace artel
