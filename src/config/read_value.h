#pragma once

#include <string>

#include "config/fields.h"
#include "config/node.h"

namespace artel {

/// Throws Error("config", "PLACE: text").
[[noreturn]] void fail_config(const std::string& where, const std::string& text);

/// Writes `node` into the field after checking type, bounds and choices. `key` is the full name for error texts, which
/// differs from field.key inside a list of files. Lists of files are not handled here.
void read_value(const Field& field, const ConfigNode& node, const std::string& key);

/// "; did you mean 'x'?" for the choice nearest to `word`, else "".
std::string did_you_mean(const std::string& word, const std::vector<std::string>& names);

/// The refusal of a key for something that Artel leaves out by design, such as tensor parallelism; empty for others.
std::string out_of_scope_key(const std::string& word);

}  // namespace artel
