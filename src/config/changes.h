#pragma once

#include <string>
#include <vector>

#include "config/fields.h"
#include "config/schema.h"

namespace artel {

/// One key whose value differs between two configs.
struct ConfigChange {
  std::string key;  ///< dotted, "optimizer.lr"; a list of files is one key
  std::string before;
  std::string after;
  OnResume kind = OnResume::forbidden;

  bool operator==(const ConfigChange&) const = default;
};

/// The keys in which `now` differs from the config `saved` in a checkpoint, in the order of the table. Both must be
/// resolved to the same degree: the caller writes the precision that a run really uses into the config first.
std::vector<ConfigChange> config_changes(const Config& saved, const Config& now);

/// Whether the weights of `model` mean anything else when this key of the model block has another value: not so keys
/// that only training reads, the length, and keys of parts and methods that the model does not have.
bool defines_function(const ModelConfig& model, const std::string& key);

/// The keys that define the function of either model and whose values differ.
std::vector<ConfigChange> function_changes(const ModelConfig& saved, const ModelConfig& now);

/// "model.qk_norm (was false, now true), …"
std::string change_list(const std::vector<ConfigChange>& changes);

/// Whether runs whose configs differ in this key have the same losses: where a run is written, what it is called and
/// logs, checkpoints, threads. Not so run.seed.
bool leaves_losses_alone(const std::string& key);

/// Whether a `--allow-change` argument covers `key`: the key itself or a block that it is in ("optimizer").
bool allows_change(const std::vector<std::string>& allowed, const std::string& key);

/// Throws Error naming every forbidden change, and every change that needs --allow-change and is not in `allowed`; also
/// an entry of `allowed` that no key has. Returns the changes that were allowed explicitly, to be logged.
std::vector<ConfigChange> require_resumable(const Config& saved, const Config& now,
                                            const std::vector<std::string>& allowed, const std::string& where);

}  // namespace artel
