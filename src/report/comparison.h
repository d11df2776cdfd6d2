#pragma once
// Compares training runs: groups of seeds, differences of their final validation loss with intervals, and what it takes
// to reach the other's loss. Shown as a terminal table, as JSON and as an HTML page.

#include <optional>
#include <string>
#include <vector>

#include "report/curves.h"
#include "report/grouping.h"
#include "report/run_reader.h"
#include "report/stats.h"
#include "util/json.h"

namespace artel {

struct CompareOptions {
  /// Two groups count as equivalent when their difference is shown to be smaller than this, in nats; > 0.
  std::optional<double> equivalence_margin;
};

/// The final validation loss of one run of a group, overall or on one validation set.
struct SeedLoss {
  int64_t seed = 0;
  double loss = 0.0;
};

/// Final losses of a group, in ascending seed order.
struct FinalLosses {
  std::vector<SeedLoss> seeds;

  std::vector<double> values() const;
  std::optional<double> mean() const;                ///< none without seeds
  std::optional<double> standard_deviation() const;  ///< none with fewer than two seeds
};

struct SetLosses {
  std::string name;
  FinalLosses losses;
};

/// One curve of the comparison: the runs that differ only in seed, compared where the shortest of them ends.
struct Group {
  std::string name;
  std::string routing;
  std::vector<size_t> runs;  ///< indices into Comparison::runs, ascending seed
  int64_t total_parameters = 0;
  int64_t active_parameters = 0;
  double flops_per_token = 0.0;
  double tokens = 0.0;             ///< at which the final losses were taken
  double flops = 0.0;              ///< tokens * flops_per_token
  double seconds = 0.0;            ///< mean over runs at `tokens`; NaN when unknown
  double tokens_per_second = 0.0;  ///< tokens / seconds; NaN when unknown
  FinalLosses final_losses;
  std::vector<SetLosses> sets;    ///< validation sets, in the order of the rows
  std::vector<SetLosses> scores;  ///< what ValidationRow::scores names, bits per byte and accuracies
  AlignedTracks validation;       ///< validation loss against tokens
};

/// What a group needs until its mean validation curve, interpolated linearly, first falls to `target`.
struct Reach {
  double target = 0.0;
  std::optional<double> tokens;  ///< none: not reached
  std::optional<double> flops;
  std::optional<double> seconds;
};

/// Estimated difference of two groups, a minus b: below zero, a has the lower loss.
struct LossDifference {
  std::optional<double> delta;
  std::optional<MeanDifference> estimate;  ///< none with fewer than two seeds on a side
  std::optional<Interval> ci95;
  std::optional<double> p_value;
  std::optional<bool> significant;  ///< the 95 % interval leaves zero out
};

struct Difference {
  size_t a = 0;  ///< index of a group
  size_t b = 0;
  std::optional<double> tokens;  ///< of both sides; none: their ends are too far apart for a test (compare_groups)
  LossDifference loss;
  std::optional<double> p_holm;  ///< p value adjusted for the number of differences
  std::optional<Equivalence> equivalence;
  std::vector<int64_t> paired_seeds;                         ///< empty when the seeds do not pair
  std::string method;                                        ///< "paired t over 3 seeds", "Welch t, 3 and 4 seeds", ""
  std::string verdict;                                       ///< one phrase, for instance "not significant"
  Reach a_reaches_b;                                         ///< a down to b's final loss
  Reach b_reaches_a;                                         ///< b down to a's
  std::vector<std::pair<std::string, LossDifference>> sets;  ///< per validation set that both have
};

struct Comparison {
  CompareOptions options;
  std::vector<Run> runs;
  std::vector<Group> groups;
  std::vector<Difference> differences;  ///< every pair a < b
  std::vector<ConfigRow> config;
  std::vector<std::string> notes;  ///< what limits the comparison, each naming the run or group
};

/// Compares runs that read_run gave. The first run's group is the one that tables show differences to. Throws Error
/// when `runs` is empty, a directory is given twice, or the margin is not above zero.
Comparison compare_runs(std::vector<Run> runs, const CompareOptions& options = {});

/// Aligned tables of at most 100 columns, with a newline at the end of each line.
std::string comparison_table(const Comparison& comparison);

/// Everything that the comparison found, curves excepted.
Json comparison_json(const Comparison& comparison);

/// One self-contained HTML page: inline style, script and SVG, nothing loaded from elsewhere.
std::string comparison_html(const Comparison& comparison);

}  // namespace artel
