#include "config/node.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <string_view>

#include "util/error.h"
#include "util/files.h"
#include "util/one_line.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr int kMaxDepth = 32;
constexpr size_t kMaxNodes = 10000;
constexpr size_t kMaxShownBytes = 60;  // of what a message quotes from the file

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

/// Turns yaml-cpp's nodes into ConfigNodes. A `--set` value has a name and no lines.
class Converter {
 public:
  Converter(const std::string& text, std::string name, bool has_lines)
      : lines_(lines_of(text)), name_(std::move(name)), has_lines_(has_lines) {}

  std::string where(int line) const { return has_lines_ && line >= 0 ? concat(name_, ":", line + 1) : name_; }

  /// `line` is that of the key which the value belongs to: yaml-cpp gives an empty value the line after it.
  ConfigNode convert(const YAML::Node& node, int line, int depth) {
    if (depth > kMaxDepth) fail_at(line, concat("required at most ", kMaxDepth, " levels of nesting, found more"));
    if (++num_nodes_ > kMaxNodes) fail_at(line, concat("required at most ", kMaxNodes, " values, found more"));
    check_tag(node, line);
    ConfigNode out;
    out.where = where(line);
    if (node.IsScalar()) {
      out.kind = ConfigNode::Kind::scalar;
      out.text = node.Scalar();
      out.quoted = node.Tag() == "!";
      if (out.quoted) check_closed(node.Mark());
    } else if (node.IsSequence()) {
      out.kind = ConfigNode::Kind::list;
      for (const auto& item : node) out.children.push_back(convert(item, line_of(item, line), depth + 1));
    } else if (node.IsMap()) {
      out.kind = ConfigNode::Kind::map;
      std::map<std::string, std::string> places;  // of the keys met so far
      for (const auto& member : node) add_member(out, places, member.first, member.second, line, depth);
    }
    return out;
  }

  [[noreturn]] void fail_at(int line, const std::string& text) const {
    fail("config", one_line(concat(where(line), ": ", text)));
  }

  std::string_view line_text(int line) const {
    return line >= 0 && static_cast<size_t>(line) < lines_.size() ? lines_[static_cast<size_t>(line)] : "";
  }

  /// The last line up to `line` that holds more than spaces: an error at the end of a file belongs to its last text.
  int last_line_with_text(int line) const {
    while (line > 0 && line_text(line).find_first_not_of(" \t\r") == std::string_view::npos) --line;
    return line;
  }

 private:
  static int line_of(const YAML::Node& node, int otherwise) {
    return node.IsNull() || node.Mark().line < 0 ? otherwise : node.Mark().line;
  }

  void add_member(ConfigNode& out, std::map<std::string, std::string>& places, const YAML::Node& key,
                  const YAML::Node& value, int map_line, int depth) {
    const int line = line_of(key, map_line);
    if (!key.IsScalar() || key.Scalar().empty()) fail_at(line, "required a key before ':', found none");
    const std::string& name = key.Scalar();
    if (name == "<<") fail_at(line, "merge keys '<<' are not supported; use 'extends: other.yaml'");
    if (const auto [first, is_new] = places.emplace(name, where(line)); !is_new) {
      fail_at(line, concat("key '", shown_key(name), "' is given twice, the first time at ", first->second,
                           "; remove one of them"));
    }
    ConfigNode member = convert(value, line, depth + 1);
    member.key = name;
    out.children.push_back(std::move(member));
  }

  void check_tag(const YAML::Node& node, int line) const {
    const std::string& tag = node.Tag();
    if (tag.empty() || tag == "?" || tag == "!") return;
    fail_at(line, concat("tags such as '", shown_key(tag), "' are not supported; remove it"));
  }

  /// yaml-cpp closes an open quotation mark at the end of the file and swallows all that stands between.
  void check_closed(const YAML::Mark& mark) const {
    const std::string_view line = line_text(mark.line);
    if (mark.column < 0 || static_cast<size_t>(mark.column) >= line.size()) return;
    const char quote = line[static_cast<size_t>(mark.column)];
    if (quote != '"' && quote != '\'') return;
    for (size_t i = static_cast<size_t>(mark.column) + 1; i < line.size(); ++i) {
      if (quote == '"' && line[i] == '\\')
        ++i;
      else if (line[i] == quote)
        return;
    }
    fail_at(mark.line,
            concat("the quotation mark opened in column ", mark.column + 1, " is not closed on its line; close it"));
  }

  std::vector<std::string_view> lines_;
  std::string name_;
  bool has_lines_;
  size_t num_nodes_ = 0;
};

/// Index of the first byte that is no UTF-8 or a control character other than tab and line end.
std::optional<size_t> first_bad_byte(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F) return i;
    const size_t length = byte < 0x80 ? 1 : byte < 0xC2 ? 0 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : byte < 0xF5 ? 4 : 0;
    if (length == 0 || i + length > text.size()) return i;
    for (size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0U) != 0x80U) return i;
    }
    i += length;
  }
  return std::nullopt;
}

bool tab_in_indentation(std::string_view line) {
  const size_t first = line.find_first_not_of(' ');
  return first != std::string_view::npos && line[first] == '\t';
}

/// Notes where documents begin. YAML::LoadAll would give the documents themselves, but where the scanner cannot go on,
/// as before a file's first comma, it finds empty ones without end.
class DocumentStarts : public YAML::EventHandler {
 public:
  std::vector<YAML::Mark> marks;

  void OnDocumentStart(const YAML::Mark& mark) override { marks.push_back(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

void require_one_document(const std::string& text, const Converter& converter) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  DocumentStarts starts;
  while (starts.marks.size() < 2 && parser.HandleNextDocument(starts)) {
  }
  if (starts.marks.size() < 2) return;
  const YAML::Mark& second = starts.marks[1];
  converter.fail_at(second.line, concat("required one YAML document, found a second one from column ",
                                        second.column + 1, " on; remove it, or the '---' or '...' before it"));
}

/// The one document of `text`; null when it is empty.
YAML::Node load_document(const std::string& text, const Converter& converter) {
  if (const auto bad = first_bad_byte(text)) {
    const auto line =
        static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(*bad), '\n'));
    converter.fail_at(line, "required UTF-8 text, found a byte that is none; is this a YAML file?");
  }
  try {
    require_one_document(text, converter);
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    const int line = converter.last_line_with_text(error.mark.line);
    if (tab_in_indentation(converter.line_text(line))) {
      converter.fail_at(line, "required spaces before the key, found a tab; YAML indents with spaces only");
    }
    converter.fail_at(
        line, concat("required YAML, found a syntax error in column ", error.mark.column + 1, ": ",
                     one_line(error.msg, kMaxShownBytes), "; check indentation, colons, brackets and quotation marks"));
  }
}

ConfigNode parse_document(const std::string& whole, const std::string& name, bool has_lines) {
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";  // some editors begin UTF-8 files with it
  const std::string text = whole.substr(whole.rfind(byte_order_mark, 0) == 0 ? byte_order_mark.size() : 0);
  Converter converter(text, name, has_lines);
  const YAML::Node document = load_document(text, converter);
  return converter.convert(document, document.IsNull() ? -1 : document.Mark().line, 0);
}

}  // namespace

ConfigNode parse_yaml(const std::string& text, const std::string& file_name) {
  ConfigNode root = parse_document(text, file_name, true);
  if (root.kind == ConfigNode::Kind::null) {
    fail("config", file_name + ": required a config, found an empty file; write at least 'data: {train: [{path: …}]}'");
  }
  if (root.kind != ConfigNode::Kind::map) {
    fail("config", concat(root.where, ": required a mapping of keys such as 'model:', found ", found_text(root)));
  }
  return root;
}

ConfigNode parse_yaml_file(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code status;
  const fs::file_status file = fs::status(path, status);
  if (!fs::exists(file)) fail("config", path + ": required a YAML file, found no such file; check the path");
  if (fs::is_directory(file)) fail("config", path + ": required a YAML file, found a directory; name the file in it");
  if (!fs::is_regular_file(file)) fail("config", path + ": required a regular YAML file, found another kind of file");
  const auto size = fs::file_size(path, status);
  if (!status && size > kMaxConfigBytes) {
    fail("config", concat(path, ": required a YAML file of at most ", kMaxConfigBytes, " bytes, found ", size,
                          "; is this a config?"));
  }
  return parse_yaml(read_file(path), path);
}

ConfigNode parse_yaml_value(const std::string& text, const std::string& where) {
  return parse_document(text, where, false);
}

ConfigNode node_from_json(const Json& json, const std::string& where) {
  ConfigNode node;
  node.where = where;
  if (json.is_null()) return node;
  if (json.is_object() || json.is_array()) {
    node.kind = json.is_object() ? ConfigNode::Kind::map : ConfigNode::Kind::list;
    for (auto member = json.begin(); member != json.end(); ++member) {
      node.children.push_back(node_from_json(*member, where));
      if (json.is_object()) node.children.back().key = member.key();
    }
    return node;
  }
  node.kind = ConfigNode::Kind::scalar;
  node.quoted = json.is_string();
  node.text = json.is_string() ? json.get<std::string>() : dump_json(json);
  return node;
}

std::string found_text(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::null:
      return "nothing";
    case ConfigNode::Kind::list:
      return "a list";
    case ConfigNode::Kind::map:
      return "a mapping of keys";
    case ConfigNode::Kind::scalar:
      break;
  }
  return concat("'", one_line(node.text, kMaxShownBytes), "'");
}

std::string shown_key(const std::string& key) {
  return one_line(key, 2 * kMaxShownBytes);
}

}  // namespace artel
