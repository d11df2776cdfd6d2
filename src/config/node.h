#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "util/json.h"

namespace artel {

/// A value as written, before it is known which key it belongs to: what YAML files, `--set` values and the config of a
/// checkpoint manifest have in common. `where` names its place for error texts: "FILE:LINE", "--set key=value" or the
/// name of the manifest.
struct ConfigNode {
  enum class Kind { null, scalar, list, map };

  Kind kind = Kind::null;
  std::string key;                   ///< name inside the parent map; empty for list items and the root
  std::string text;                  ///< of a scalar
  bool quoted = false;               ///< the scalar stood in quotation marks, so it is a text and no number
  std::vector<ConfigNode> children;  ///< list items or map members, in the order written
  std::string where;
};

/// Largest YAML file and `--set` value accepted, in bytes.
inline constexpr size_t kMaxConfigBytes = 1 << 18;

/// Parses one YAML document whose root is a mapping. Throws Error `[config] FILE:LINE: …` for what is no YAML, for an
/// empty file, and for a key given twice in one mapping (with both lines).
ConfigNode parse_yaml(const std::string& text, const std::string& file_name);

/// Reads and parses the file `path`; additionally throws when it is missing, no regular file, or too large.
ConfigNode parse_yaml_file(const std::string& path);

/// Parses the value of a `--set key=value`; `where` is that text.
ConfigNode parse_yaml_value(const std::string& text, const std::string& where);

/// The same for a JSON document, for instance the config in a checkpoint manifest.
ConfigNode node_from_json(const Json& json, const std::string& where);

/// How a node is called in "found …": "'3'", "a list", "a mapping of keys", "nothing". One line, at most 60 bytes of it
/// quoted.
std::string found_text(const ConfigNode& node);

/// A key, path or tag as messages quote it: on one line, and not whole when somebody wrote a novel there.
std::string shown_key(const std::string& key);

}  // namespace artel
