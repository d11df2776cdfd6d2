#pragma once

#include <cstdint>
#include <string>

#include "util/files.h"

// The names in a directory of checkpoints, and how they change: in what order, so that a death at any moment leaves the
// newest checkpoint readable and `latest` naming one that exists.

namespace artel {

/// Where the checkpoint of a step is written before it is committed.
std::string temporary_path(const std::string& directory, std::int64_t step);

/// Removes what earlier deaths left half written or half removed.
void remove_leftovers(FileLayer& files, const std::string& directory);

/// Makes the complete, fsynced temporary directory of `step` the checkpoint of that step, and sets aside those of this
/// step and later ones. Returns its path.
std::string commit_checkpoint(FileLayer& files, const std::string& directory, std::int64_t step);

/// Names the committed checkpoint of `step` in `latest`.
void write_latest(FileLayer& files, const std::string& directory, std::int64_t step);

/// Removes the oldest checkpoints beyond `keep` (0: keeps all), those set aside first.
void remove_oldest(FileLayer& files, const std::string& directory, std::int64_t keep);

/// Whether the last part of `path` is the name of a checkpoint that was set aside.
bool is_superseded(const std::string& path);

}  // namespace artel
