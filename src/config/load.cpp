#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "config/node.h"
#include "config/read_value.h"
#include "config/resolve.h"
#include "config/yaml.h"
#include "util/error.h"
#include "util/files.h"
#include "util/one_line.h"
#include "util/text.h"

namespace artel {
namespace {

std::string joined(const std::string& parent, const std::string& name) {
  return parent.empty() ? name : concat(parent, ".", name);
}

std::string last_part(const std::string& key) {
  return key.substr(key.rfind('.') + 1);
}

std::string parent_of(const std::string& key) {
  const size_t dot = key.rfind('.');
  return dot == std::string::npos ? "" : key.substr(0, dot);
}

bool starts_with_part(const std::string& key, const std::string& parent) {
  return parent.empty() ||
         (key.size() > parent.size() && key.compare(0, parent.size(), parent) == 0 && key[parent.size()] == '.');
}

bool is_list(const Field& field) {
  return std::holds_alternative<std::vector<double>*>(field.value) ||
         std::holds_alternative<std::vector<DataFile>*>(field.value);
}

/// Applies layers (files from the oldest ancestor on, then overrides) to one Config, checking each as it comes.
class Loader {
 public:
  explicit Loader(const ParseOptions& options)
      : fields_(config_fields(config_, options.routing_types)), data_must_exist_(options.data_must_exist) {}
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  void apply_file(const ConfigNode& root, const std::string& path) {
    chain_.push_back(path);
    for (const ConfigNode& member : root.children) {
      if (member.key == "extends") apply_base(member, path);
    }
    for (const ConfigNode& member : root.children) {
      if (member.key != "extends") apply_member(member, "");
    }
    chain_.pop_back();
    sources_.file = path;
  }

  void apply_override(const std::string& assignment);

  /// The members of a root that may not extend other files.
  void apply_document(const ConfigNode& root, const std::string& where) {
    sources_.file = where;
    apply_section(root, "");
  }

  Config finish() {
    if (config_.data.train.empty()) {
      sources_.fail_at({"data.train", "data"},
                       "required data.train, found none; write for instance 'data: {train: [{path: train.bin}]}'");
    }
    resolve_config(config_, sources_);
    if (data_must_exist_) {
      require_files(config_.data.train, "data.train");
      require_files(config_.data.validation, "data.validation");
      require_files(config_.validation.tasks, "validation.tasks");
    }
    return config_;
  }

 private:
  void apply_base(const ConfigNode& extends, const std::string& path);
  void apply(const ConfigNode& node, const std::string& key);
  void apply_section(const ConfigNode& node, const std::string& key);
  void apply_member(const ConfigNode& member, const std::string& section);
  void apply_files(std::vector<DataFile>& files, const ConfigNode& list, const std::string& key);
  void apply_file_entry(DataFile& file, const ConfigNode& entry, const std::string& key);
  bool apply_list_element(const ConfigNode& node, const std::string& key);
  void require_files(const std::vector<DataFile>& files, const std::string& key) const;

  [[noreturn]] void fail_unknown(const ConfigNode& node, const std::string& key, const std::vector<std::string>& names);

  const Field* find(const std::string& key) const {
    const auto found = std::find_if(fields_.begin(), fields_.end(), [&](const Field& f) { return f.key == key; });
    return found == fields_.end() ? nullptr : &*found;
  }

  static bool is_section(const std::string& key) {
    const auto& sections = config_sections();
    return std::any_of(sections.begin(), sections.end(), [&](const Section& s) { return s.key == key; });
  }

  std::vector<std::string> names_in(const std::string& section) const;

  Config config_;
  std::vector<Field> fields_;  // points into config_
  bool data_must_exist_;
  ConfigSources sources_;
  std::vector<std::string> chain_;  // files being applied, the outermost first
  std::vector<std::pair<std::string, std::string>> overrides_;
};

void Loader::apply_base(const ConfigNode& extends, const std::string& path) {
  namespace fs = std::filesystem;
  if (extends.kind != ConfigNode::Kind::scalar || extends.text.empty()) {
    fail_config(extends.where, concat("'extends' required the path of a YAML file, found ", found_text(extends)));
  }
  if (extends.text != one_line(extends.text)) {
    fail_config(extends.where, concat("'extends' required the path of a YAML file, found ", found_text(extends),
                                      " with a control character; remove it"));
  }
  const std::string base = (fs::path(path).parent_path() / extends.text).lexically_normal().string();
  std::error_code status;
  for (const std::string& file : chain_) {
    if (fs::weakly_canonical(file, status) != fs::weakly_canonical(base, status)) continue;
    fail_config(extends.where, concat("'extends' goes round in a circle: ", join(chain_, " -> "), " -> ", base,
                                      "; remove one of them"));
  }
  if (!fs::exists(base, status)) {
    fail_config(extends.where, concat("'extends' required a YAML file, found no file ", shown_key(base),
                                      "; the path is relative to the file that it stands in"));
  }
  apply_file(parse_yaml_file(base), base);
}

void Loader::apply(const ConfigNode& node, const std::string& key) {
  if (is_section(key)) return apply_section(node, key);
  const Field* field = find(key);
  if (!field) fail_unknown(node, key, names_in(parent_of(key)));
  sources_.keys[key] = node.where;
  if (auto* const* files = std::get_if<std::vector<DataFile>*>(&field->value)) return apply_files(**files, node, key);
  read_value(*field, node, key);
}

void Loader::apply_section(const ConfigNode& node, const std::string& key) {
  if (node.kind == ConfigNode::Kind::null) return;  // all keys of the block are commented out
  if (node.kind != ConfigNode::Kind::map) {
    fail_config(node.where, concat("'", key, "' required a mapping of keys such as ", names_in(key).front(), ", found ",
                                   found_text(node)));
  }
  sources_.keys[key] = node.where;
  for (const ConfigNode& member : node.children) apply_member(member, key);
}

void Loader::apply_member(const ConfigNode& member, const std::string& section) {
  if (member.key.find('.') != std::string::npos) {
    fail_config(member.where, concat("unknown key '", shown_key(joined(section, member.key)),
                                     "'; a file nests its keys, dots are for --set: write '",
                                     shown_key(member.key.substr(0, member.key.find('.'))), ": {…}'"));
  }
  apply(member, joined(section, member.key));
}

void Loader::apply_files(std::vector<DataFile>& files, const ConfigNode& list, const std::string& key) {
  const Field& field = *find(key);
  if (list.kind != ConfigNode::Kind::list || (list.children.empty() && !field.may_be_empty)) {
    fail_config(list.where, concat("'", key, "' required ", requirement(field), ", found ",
                                   list.kind == ConfigNode::Kind::list ? "an empty list" : found_text(list)));
  }
  std::erase_if(sources_.keys, [&](const auto& source) { return starts_with_part(source.first, key); });
  std::vector<DataFile> read(list.children.size());
  for (size_t i = 0; i < read.size(); ++i) {
    const ConfigNode& entry = list.children[i];
    const std::string entry_key = concat(key, ".", i);
    apply_file_entry(read[i], entry, entry_key);
    if (read[i].path.empty()) fail_config(entry.where, concat("'", entry_key, "' required the key 'path', found none"));
  }
  files = std::move(read);
}

void Loader::apply_file_entry(DataFile& file, const ConfigNode& entry, const std::string& key) {
  const std::vector<Field> fields = data_file_fields(file, file_list_of(key));
  if (entry.kind != ConfigNode::Kind::map) {
    fail_config(entry.where, concat("'", key, "' required a mapping such as {path: FILE}, found ", found_text(entry)));
  }
  std::vector<std::string> names;
  for (const Field& field : fields) names.push_back(field.key);
  for (const ConfigNode& member : entry.children) {
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.key == member.key; });
    if (field == fields.end()) fail_unknown(member, joined(key, member.key), names);
    sources_.keys[joined(key, member.key)] = member.where;
    read_value(*field, member, joined(key, member.key));
  }
}

/// "optimizer.betas.0", "data.train.0" and "data.train.0.path", which only overrides can name. False for other keys.
bool Loader::apply_list_element(const ConfigNode& node, const std::string& key) {
  const auto list = std::find_if(fields_.begin(), fields_.end(), [&](const Field& field) {
    return is_list(field) && starts_with_part(key, field.key);
  });
  if (list == fields_.end()) return false;
  const std::string rest = key.substr(list->key.size() + 1);
  const std::string number = rest.substr(0, rest.find('.'));
  const std::string inner = number.size() == rest.size() ? "" : rest.substr(number.size() + 1);
  auto* const* reals = std::get_if<std::vector<double>*>(&list->value);
  auto* const* files = std::get_if<std::vector<DataFile>*>(&list->value);
  const size_t size = reals ? (*reals)->size() : (*files)->size();
  const bool is_number =
      !number.empty() && number.size() < 9 && number.find_first_not_of("0123456789") == std::string::npos;
  if (!is_number || std::stoul(number) >= size) {
    fail_config(node.where, concat("'", list->key, "' required the number of an entry below ", size, " after '",
                                   list->key, ".', found '", shown_key(number), "'"));
  }
  const size_t index = std::stoul(number);
  if (reals) {
    if (!inner.empty()) fail_config(node.where, concat("'", list->key, ".", number, "' is a number and has no keys"));
    Field element = *list;
    element.value = &(**reals)[index];
    read_value(element, node, key);
  } else if (inner.empty()) {
    DataFile file;
    apply_file_entry(file, node, key);
    if (file.path.empty()) fail_config(node.where, concat("'", key, "' required the key 'path', found none"));
    (**files)[index] = file;
  } else {
    ConfigNode entry;
    entry.kind = ConfigNode::Kind::map;
    entry.where = node.where;
    entry.children = {node};
    entry.children[0].key = inner;
    apply_file_entry((**files)[index], entry, concat(list->key, ".", number));
  }
  return true;
}

void Loader::apply_override(const std::string& assignment) {
  const std::string where = one_line("--set " + assignment, 200);
  const size_t equals = assignment.find('=');
  const std::string key = assignment.substr(0, equals);
  if (equals == std::string::npos || key.empty()) {
    fail_config(where, "required key=value, found no '=' after a key; write for instance --set train.steps=100");
  }
  for (const auto& [earlier, text] : overrides_) {
    if (earlier == key) fail_config(where, concat("'", key, "' is already set by '", text, "'; remove one of them"));
  }
  overrides_.emplace_back(key, where);
  if (key == "extends") fail_config(where, "'extends' can only stand in a file; give that file with -c");
  if (assignment.size() > kMaxConfigBytes)
    fail_config("--set " + shown_key(key),
                concat("required a value of at most ", kMaxConfigBytes, " bytes, found more"));
  ConfigNode node = parse_yaml_value(assignment.substr(equals + 1), where);
  if (is_section(key) || find(key)) return apply(node, key);
  if (apply_list_element(node, key)) return;
  // The longest beginning that is a block, so that the text names the first part that is wrong.
  std::string wrong = key;
  while (!parent_of(wrong).empty() && !is_section(parent_of(wrong))) {
    wrong = parent_of(wrong);
    if (find(wrong)) {
      fail_config(where, concat("'", wrong, "' is a value and has no keys; write --set ", wrong, "=VALUE"));
    }
  }
  fail_unknown(node, wrong, names_in(parent_of(wrong)));
}

void Loader::require_files(const std::vector<DataFile>& files, const std::string& key) const {
  for (size_t i = 0; i < files.size(); ++i) {
    const std::vector<std::string> found = matching_files(files[i].path);
    const auto is_directory = [](const std::string& path) { return std::filesystem::is_directory(path); };
    const auto directory = std::find_if(found.begin(), found.end(), is_directory);
    if (!found.empty() && directory == found.end()) continue;
    const std::string path_key = concat(key, ".", i, ".path");
    const std::string entry_key = concat(key, ".", i);
    sources_.fail_at(
        {path_key.c_str(), entry_key.c_str(), key.c_str()},
        concat("'", path_key, "' required ", key == "validation.tasks" ? "an evaluation file" : "a token file",
               found.empty() ? ", found no file " + shown_key(files[i].path)
                             : ", found the directory " + shown_key(*directory),
               "; make it or mend the path, which is relative to the working directory"));
  }
}

std::vector<std::string> Loader::names_in(const std::string& section) const {
  std::vector<std::string> names;
  const auto add = [&](const std::string& key) {
    if (parent_of(key) == section) names.push_back(last_part(key));
  };
  for (const Field& field : fields_) add(field.key);
  for (const Section& block : config_sections()) add(block.key);
  return names;
}

void Loader::fail_unknown(const ConfigNode& node, const std::string& key, const std::vector<std::string>& names) {
  const std::string word = last_part(key);
  if (const std::string refusal = out_of_scope_key(word); !refusal.empty()) {
    fail_config(node.where, concat("'", shown_key(key), "': ", refusal));
  }
  const std::string text = concat("unknown key '", shown_key(key), "'");
  if (key == "extends") fail_config(node.where, text + "; it can only stand in a YAML file");
  if (const std::string hint = did_you_mean(word, names); !hint.empty()) fail_config(node.where, text + hint);
  for (const Field& field : fields_) {
    if (last_part(field.key) == word) fail_config(node.where, concat(text, "; did you mean '", field.key, "'?"));
  }
  fail_config(node.where, concat(text, "; keys known here: ", join(names, ", ")));
}

void apply_options(Loader& loader, const ParseOptions& options) {
  if (!options.base.is_null()) loader.apply_document(node_from_json(options.base, "base"), "base");
}

Config finish_with_overrides(Loader& loader, const std::vector<std::string>& overrides) {
  for (const std::string& override_text : overrides) loader.apply_override(override_text);
  return loader.finish();
}

}  // namespace

Config load_config(const std::string& path, const std::vector<std::string>& overrides, const ParseOptions& options) {
  Loader loader(options);
  apply_options(loader, options);
  loader.apply_file(parse_yaml_file(path), path);
  return finish_with_overrides(loader, overrides);
}

Config parse_config(const std::string& text, const std::string& file_name, const std::vector<std::string>& overrides,
                    const ParseOptions& options) {
  Loader loader(options);
  apply_options(loader, options);
  loader.apply_file(parse_yaml(text, file_name), file_name);
  return finish_with_overrides(loader, overrides);
}

Config config_from_json(const Json& json, const std::string& where, const ParseOptions& options) {
  if (!json.is_object()) fail_config(where, concat("required a config object, found ", json.type_name()));
  Loader loader(options);
  loader.apply_document(node_from_json(json, where), where);
  return loader.finish();
}

}  // namespace artel
