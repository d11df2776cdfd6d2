#pragma once

#include <string>

#include "config/schema.h"
#include "util/files.h"

namespace artel {

/// Makes <run.directory>/<run.name> where it is not there. Returns its path. Errors: what keeps it from being made,
/// naming the keys.
std::string make_run_directory(FileLayer& files, const Config& config);

}  // namespace artel
