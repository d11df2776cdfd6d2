#include "report/lineage.h"

#include <algorithm>
#include <utility>

namespace artel {

void Lineage::note_row(int64_t attempt, int64_t step) {
  Attempt& noted = attempts_[attempt];
  noted.first_row = std::min(noted.first_row, step);
  noted.last_row = std::max(noted.last_row, step);
}

void Lineage::note_resume(int64_t attempt, int64_t step, std::string from, std::vector<ResumedChange> changes) {
  Attempt& noted = attempts_[attempt];
  noted.resumed_at = step;
  noted.from = std::move(from);
  noted.changes = std::move(changes);
}

Lineage::Attempts::const_iterator Lineage::parent_of(Attempts::const_iterator child) const {
  const int64_t start = child->second.start();
  if (start <= 0 || child == attempts_.begin()) return attempts_.end();
  auto unseen = attempts_.end();  // what may have written the checkpoint although no row tells
  for (auto candidate = child; candidate != attempts_.begin();) {
    --candidate;
    if (candidate->second.start() < start && start <= candidate->second.last_row) return candidate;
    const bool same_beginning = candidate->second.start() == start && candidate->second.from == child->second.from;
    if (unseen == attempts_.end() && !same_beginning) unseen = candidate;
  }
  return unseen;
}

void Lineage::finish() {
  int64_t last_step = std::numeric_limits<int64_t>::max();
  auto attempt = attempts_.empty() ? attempts_.cend() : std::prev(attempts_.cend());
  while (attempt != attempts_.cend()) {
    last_step_of_[attempt->first] = last_step;
    const std::vector<ResumedChange>& changes = attempt->second.changes;
    if (attempt->second.start() > 0) changes_.insert(changes_.begin(), changes.begin(), changes.end());
    last_step = std::min(last_step, attempt->second.start());
    attempt = parent_of(attempt);
  }
}

bool Lineage::holds(int64_t attempt, int64_t step) const {
  const auto found = last_step_of_.find(attempt);
  return found != last_step_of_.end() && step <= found->second;
}

int64_t Lineage::num_attempts() const {
  return std::count_if(attempts_.begin(), attempts_.end(), [](const auto& item) { return item.second.last_row >= 0; });
}

}  // namespace artel
