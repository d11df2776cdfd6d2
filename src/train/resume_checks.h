#pragma once

#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "config/changes.h"
#include "config/schema.h"
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

/// Throws Error where the samples that a run of the config `now` has behind it at the checkpoint's step are not those
/// that it was trained on: data.order megatron depends on train.steps. Unless `allowed` covers train.steps; then it
/// returns the warning to log, else an empty text.
std::string require_same_order(const Checkpoint& checkpoint, const Config& saved, const Config& now,
                               const DataLoader& loader, const std::vector<std::string>& allowed);

/// A warning where the next step's learning rate is another than by the config of the checkpoint; else empty.
std::string learning_rate_change(const Checkpoint& checkpoint, const Config& saved, const Config& now);

}  // namespace artel
