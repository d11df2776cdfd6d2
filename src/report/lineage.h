#pragma once
// Which rows of metrics.jsonl the run as it stands now stems from. A run may be resumed from a checkpoint before its
// end; what an attempt did beyond that checkpoint is then no part of it, however much further that attempt came.

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace artel {

/// A config key that had another value before a resume.
struct ResumedChange {
  int64_t step = 0;  ///< the last with the value before
  std::string key;   ///< dotted; a list of files is one key
  std::string before;
  std::string after;

  bool operator==(const ResumedChange&) const = default;
};

/// The attempts of a run. All rows are noted first, in any order; then `finish`, then the questions.
class Lineage {
 public:
  /// A training or validation row.
  void note_row(int64_t attempt, int64_t step);

  /// `attempt` went on from the checkpoint `from`, which is of `step`. `changes` are of the config since then.
  void note_resume(int64_t attempt, int64_t step, std::string from, std::vector<ResumedChange> changes);

  /// Goes back from the last attempt. The checkpoint that an attempt began with is taken for one of the latest attempt
  /// before it that passed its step. An attempt without note_resume began before its first row.
  void finish();

  /// Whether a row is of the run as it stands.
  bool holds(int64_t attempt, int64_t step) const;

  /// Of the resumes that the run stems from, in ascending step order.
  const std::vector<ResumedChange>& changes() const { return changes_; }

  /// Those with rows.
  int64_t num_attempts() const;

 private:
  struct Attempt {
    int64_t first_row = std::numeric_limits<int64_t>::max();
    int64_t last_row = -1;  // none
    int64_t resumed_at = -1;
    std::string from;
    std::vector<ResumedChange> changes;

    int64_t start() const { return resumed_at >= 0 ? resumed_at : first_row - 1; }
  };
  using Attempts = std::map<int64_t, Attempt>;

  Attempts::const_iterator parent_of(Attempts::const_iterator child) const;

  Attempts attempts_;
  std::map<int64_t, int64_t> last_step_of_;  // attempts that the run stems from
  std::vector<ResumedChange> changes_;
};

}  // namespace artel
