#include "config/yaml.h"
#include "util/text.h"

namespace artel {
namespace {

Json json_value_of(const Field& field);

Json files_json(const std::vector<DataFile>& files, FileList in) {
  Json list = Json::array();
  for (DataFile file : files) {
    Json entry = Json::object();
    for (const Field& field : data_file_fields(file, in)) entry[field.key] = json_value_of(field);
    list.push_back(std::move(entry));
  }
  return list;
}

Json json_value_of(const Field& field) {
  if (const auto* text = std::get_if<std::string*>(&field.value)) return **text;
  if (const auto* flag = std::get_if<bool*>(&field.value)) return **flag;
  if (const auto* real = std::get_if<double*>(&field.value)) return **real;
  if (const auto* reals = std::get_if<std::vector<double>*>(&field.value)) return **reals;
  if (const auto* files = std::get_if<std::vector<DataFile>*>(&field.value)) {
    return files_json(**files, file_list_of(field.key));
  }
  const std::int64_t integer = *std::get<std::int64_t*>(field.value);
  if (field.zero_is_auto && integer == 0) return "auto";
  return integer;
}

std::vector<std::string> parts_of(const std::string& key) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    parts.push_back(key.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace

std::string dump_config(const Config& config) {
  Config copy = config;
  std::string out;
  std::vector<std::string> open;  // the blocks that the last line stands in
  for (const Field& field : config_fields(copy, known_routing_types())) {
    std::vector<std::string> parts = parts_of(field.key);
    const std::string name = parts.back();
    parts.pop_back();
    size_t level = 0;
    while (level < parts.size() && level < open.size() && parts[level] == open[level]) ++level;
    for (size_t i = level; i < parts.size(); ++i) out += concat(std::string(2 * i, ' '), parts[i], ":\n");
    open = parts;
    out += concat(std::string(2 * parts.size(), ' '), name, ": ", value_text(field), "\n");
  }
  return out;
}

Json config_json(const Config& config) {
  Config copy = config;
  Json out = Json::object();
  for (const Field& field : config_fields(copy, known_routing_types())) {
    Json* place = &out;
    for (const std::string& part : parts_of(field.key)) place = &(*place)[part];
    *place = json_value_of(field);
  }
  return out;
}

}  // namespace artel
