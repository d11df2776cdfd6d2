#pragma once

#include <string>
#include <vector>

#include "config/fields.h"
#include "config/schema.h"
#include "util/json.h"

namespace artel {

/// Which values the loader accepts beyond the table of keys.
struct ParseOptions {
  std::vector<std::string> routing_types = known_routing_types();  ///< allowed for model.routing.type
  Json base = nullptr;  ///< keys with the values that they have unless the file or an override sets them; or null
  bool data_must_exist = false;  ///< every data file is looked for (not opened), for a run that is about to start
};

/// Loads a YAML config: the files that it `extends` first, then the file, then the overrides ("model.hidden_size=512",
/// "data.train=[{path: x}]", "data.train.0.path=x"), each checked against the table of keys; then resolves what is
/// `auto` and can be known without a machine (head_dim, routing_neurons, the AoE sizes) and checks keys against each
/// other. Opens no data file, and looks for them only when the options say so. train.threads, precision and device stay
/// as written.
/// Throws Error `[config] FILE:LINE: …` (`[config] --set key=value: …`), one line that says what to do.
Config load_config(const std::string& path, const std::vector<std::string>& overrides = {},
                   const ParseOptions& options = {});

/// The same for text that is already in memory; `file_name` names it in errors and is what `extends` is relative to.
Config parse_config(const std::string& text, const std::string& file_name,
                    const std::vector<std::string>& overrides = {}, const ParseOptions& options = {});

/// The config of a checkpoint manifest; `where` names it in errors.
Config config_from_json(const Json& json, const std::string& where, const ParseOptions& options = {});

/// Every key with its value as YAML, in the order of docs/config.md. Loads back to the same Config.
std::string dump_config(const Config& config);

/// Every key with its value, nested like the YAML file; `auto` where a value is still to be resolved.
Json config_json(const Config& config);

/// The contents of docs/config.md.
std::string config_reference_markdown();

}  // namespace artel
