#pragma once

#include <string>

#include "checkpoint/store.h"

namespace artel {

/// Opens a checkpoint given as its own directory, or the newest one of a run or of a checkpoints directory.
/// Errors: none there.
Checkpoint open_checkpoint(FileLayer& files, const std::string& path);

/// The paths that a directory stands for: itself, or every checkpoint of the run, newest first.
std::vector<std::string> checkpoint_paths(FileLayer& files, const std::string& path);

}  // namespace artel
