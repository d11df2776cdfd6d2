#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "config/schema.h"

namespace artel {

/// Whether a run may be resumed after a key has changed.
enum class OnResume {
  free,         ///< yes
  needs_allow,  ///< only when the key is named with --allow-change
  forbidden     ///< no: the run would no longer be the same experiment
};

/// Where the value of a key lives inside a Config.
using FieldValue =
    std::variant<std::string*, std::int64_t*, double*, bool*, std::vector<double>*, std::vector<DataFile>*>;

/// One key of the YAML file. The table of all of them is the only place that knows keys: loading, checking, dumping,
/// resuming and docs/config.md read it. The default is the value in a default-constructed Config.
struct Field {
  std::string key;  ///< dotted, "model.hidden_size"; inside a list of files "path"
  FieldValue value;
  OnResume on_resume = OnResume::forbidden;
  std::string doc;                   ///< one line, for docs/config.md
  std::vector<std::string> choices;  ///< of a text; empty: any text
  bool zero_is_auto = false;         ///< an integer whose 0 is written `auto`
  bool may_be_empty = false;         ///< a text or a list of files
  bool may_have_lines = false;       ///< a text with line ends and other control characters

  std::int64_t min_int = 0;  ///< bounds of an integer, both included
  std::int64_t max_int = std::numeric_limits<std::int64_t>::max();
  double min_real = 0.0;  ///< bounds of a number (of every number of a list)
  double max_real = std::numeric_limits<double>::infinity();
  bool min_excluded = false;
  bool max_excluded = false;
  size_t list_size = 0;  ///< of a list of numbers

  Field& integers(std::int64_t low, std::int64_t high);
  Field& from(double low);    ///< number >= low
  Field& above(double low);   ///< number > low
  Field& up_to(double high);  ///< number <= high
  Field& below(double high);  ///< number < high
  Field& one_of(std::vector<std::string> names);
  Field& or_auto();
  Field& or_empty();
  Field& or_lines();
  Field& numbers(size_t count);
};

/// What "required …" says for a field: "an integer from 1 to 8 or 'auto'", "one of adamw", "true or false".
std::string requirement(const Field& field);

/// The value as YAML text: `auto` where it applies, numbers in their shortest exact form, texts quoted where needed.
std::string value_text(const Field& field);

/// A text as a YAML scalar, in quotation marks where a YAML 1.1 or 1.2 reader would take it for something else.
std::string quote_yaml(const std::string& text);

/// A block of keys, in the order in which they are dumped; `key` is dotted and empty for the root.
struct Section {
  std::string key;
  std::string doc;
};
const std::vector<Section>& config_sections();

/// All keys, bound to `config`, in the order in which they are dumped. `routing_types` are the values allowed for
/// model.routing.type.
std::vector<Field> config_fields(Config& config, const std::vector<std::string>& routing_types);

/// A list of files in the YAML file.
enum class FileList { train, validation, tasks };
/// The list that `key` is or lies in: "validation.tasks", "data.train.0".
FileList file_list_of(const std::string& key);

/// The keys of one entry of such a list.
std::vector<Field> data_file_fields(DataFile& file, FileList list);

/// The routing methods that a YAML file can name.
const std::vector<std::string>& known_routing_types();

}  // namespace artel
