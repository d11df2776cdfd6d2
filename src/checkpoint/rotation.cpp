#include "checkpoint/rotation.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <iterator>
#include <vector>

#include "checkpoint/store.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr std::string_view temporary_prefix = ".tmp-";
constexpr std::string_view superseded_prefix = ".superseded-";
constexpr std::string_view removed_name = ".tmp-removed";
constexpr std::string_view latest_name = "latest";

// "step-00000200"
std::string step_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return name;
}

// The step of a name prefix + step_name(step); -1 for any other name.
std::int64_t parse_step(std::string_view name, std::string_view prefix) {
  constexpr std::string_view step_prefix = "step-";
  constexpr std::size_t max_digits = 18;
  if (!name.starts_with(prefix)) return -1;
  name.remove_prefix(prefix.size());
  if (!name.starts_with(step_prefix) || name.size() > step_prefix.size() + max_digits) return -1;
  std::int64_t step = 0;
  for (const char digit : name.substr(step_prefix.size())) {
    if (digit < '0' || digit > '9') return -1;
    step = step * 10 + (digit - '0');
  }
  return step_name(step) == name ? step : -1;
}

// Steps of the directories prefix + step_name(step), newest first.
std::vector<std::int64_t> list_steps(FileLayer& files, const std::string& directory, std::string_view prefix) {
  std::vector<std::int64_t> steps;
  for (const std::string& name : files.list(directory)) {
    const std::int64_t step = parse_step(name, prefix);
    if (step >= 0 && files.is_directory(join_path(directory, name))) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end(), std::greater<>());
  return steps;
}

std::string superseded_path(const std::string& directory, std::int64_t step) {
  return join_path(directory, concat(superseded_prefix, step_name(step)));
}

// Renamed first, so that one that is half removed is not taken for a checkpoint.
void remove_checkpoint(FileLayer& files, const std::string& directory, const std::string& path) {
  const std::string doomed = join_path(directory, removed_name);
  files.remove(doomed);
  files.rename(path, doomed);
  files.remove(doomed);
}

// Those of `step` and later ones belong to a future that the run has left. `latest`, which may name one of them, goes
// back first.
void supersede_from(FileLayer& files, const std::string& directory, std::int64_t step) {
  const std::vector<std::int64_t> steps = list_steps(files, directory, "");
  if (steps.empty() || steps.front() < step) return;
  const auto before = std::find_if(steps.begin(), steps.end(), [&](std::int64_t s) { return s < step; });
  if (before != steps.end()) {
    write_latest(files, directory, *before);
  } else {
    files.remove(join_path(directory, latest_name));
    files.fsync_directory(directory);
  }
  // The newest last: while any of them is in its place, it is the one that was the newest.
  for (auto later = std::make_reverse_iterator(before); later != steps.rend(); ++later) {
    const std::string aside = superseded_path(directory, *later);
    if (files.exists(aside)) remove_checkpoint(files, directory, aside);
    files.rename(join_path(directory, step_name(*later)), aside);
  }
}

}  // namespace

std::string temporary_path(const std::string& directory, std::int64_t step) {
  return join_path(directory, concat(temporary_prefix, step_name(step)));
}

void remove_leftovers(FileLayer& files, const std::string& directory) {
  for (const std::string& name : files.list(directory)) {
    if (name == removed_name || parse_step(name, temporary_prefix) >= 0) files.remove(join_path(directory, name));
  }
}

std::string commit_checkpoint(FileLayer& files, const std::string& directory, std::int64_t step) {
  supersede_from(files, directory, step);
  std::string path = join_path(directory, step_name(step));
  files.rename(temporary_path(directory, step), path);
  files.fsync_directory(directory);
  return path;
}

void write_latest(FileLayer& files, const std::string& directory, std::int64_t step) {
  write_file_atomic(files, join_path(directory, latest_name), step_name(step) + "\n");
}

void remove_oldest(FileLayer& files, const std::string& directory, std::int64_t keep) {
  if (keep <= 0) return;
  const std::vector<std::string> paths = list_checkpoints(files, directory);
  // From the oldest on, so that a death on the way leaves no gaps.
  for (std::size_t i = paths.size(); i > static_cast<std::size_t>(keep); --i) {
    remove_checkpoint(files, directory, paths[i - 1]);
  }
}

bool is_superseded(const std::string& path) {
  return parse_step(path.substr(path.rfind('/') + 1), superseded_prefix) >= 0;
}

std::vector<std::string> list_checkpoints(FileLayer& files, const std::string& directory) {
  if (!files.is_directory(directory)) return {};
  std::vector<std::string> paths;
  for (const std::int64_t step : list_steps(files, directory, "")) {
    paths.push_back(join_path(directory, step_name(step)));
  }
  for (const std::int64_t step : list_steps(files, directory, superseded_prefix)) {
    paths.push_back(superseded_path(directory, step));
  }
  return paths;
}

}  // namespace artel
