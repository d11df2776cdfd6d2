#pragma once

#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "config/changes.h"
#include "data/loader.h"
#include "util/json.h"

namespace artel {

/// What the order of samples depends on beside the config, for the manifest of a checkpoint: [{"path", "windows",
/// "ids"}], an entry for each source in order.
Json data_sources_json(const DataLoader& loader);

/// Throws Error where the training data of a resumed run are not those of its checkpoint, naming file and numbers,
/// unless `allowed` covers data.train. Sources are compared by order, windows and ids: a path may lead elsewhere today.
/// A checkpoint that does not say what its sources were passes. Returns the changes that were allowed.
std::vector<ConfigChange> require_same_data(const Checkpoint& checkpoint, const DataLoader& loader,
                                            const std::vector<std::string>& allowed);

}  // namespace artel
