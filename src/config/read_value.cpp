#include "config/read_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <system_error>

#include "util/error.h"
#include "util/nearest_name.h"
#include "util/one_line.h"
#include "util/text.h"

namespace artel {
namespace {

/// `text` as a number; nothing when letters are left over or the type cannot hold it.
template <typename T>
std::optional<T> parse_number(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

class Reader {
 public:
  Reader(const Field& field, const ConfigNode& node, const std::string& key) : field_(field), node_(node), key_(key) {}

  void operator()(std::string* out) const {
    if (node_.kind != ConfigNode::Kind::scalar) refuse(node_, "");
    if (node_.text.empty() && !field_.may_be_empty) refuse(node_, "");
    if (!field_.may_have_lines && one_line(node_.text) != without_tabs(node_.text)) {
      refuse(node_, " with a line end or another control character; remove it");
    }
    check_in_scope();
    if (!field_.choices.empty() && !is_choice(node_.text)) refuse(node_, did_you_mean(node_.text, field_.choices));
    *out = node_.text;
  }

  void operator()(bool* out) const {
    const std::string& text = node_.text;
    const bool is_true = text == "true" || text == "True" || text == "TRUE";
    const bool is_false = text == "false" || text == "False" || text == "FALSE";
    if (node_.kind != ConfigNode::Kind::scalar || node_.quoted || (!is_true && !is_false)) refuse(node_, quotes_hint());
    *out = is_true;
  }

  void operator()(std::int64_t* out) const {
    if (node_.kind != ConfigNode::Kind::scalar) refuse(node_, "");
    if (field_.zero_is_auto && node_.text == "auto") {
      *out = 0;
      return;
    }
    const auto value = parse_number<std::int64_t>(node_.text);
    if (node_.quoted || !value) refuse(node_, integer_hint());
    check_in_scope();
    if (*value < field_.min_int || *value > field_.max_int) refuse(node_, "");
    *out = *value;
  }

  void operator()(double* out) const { *out = real(node_); }

  void operator()(std::vector<double>* out) const {
    if (node_.kind != ConfigNode::Kind::list) refuse(node_, "");
    if (node_.children.size() != field_.list_size) {
      fail_config(node_.where,
                  concat("'", key_, "' required ", requirement(field_), ", found a list of ", node_.children.size()));
    }
    std::vector<double> values;
    for (const ConfigNode& item : node_.children) values.push_back(real(item));
    *out = values;
  }

  void operator()(std::vector<DataFile>*) const { refuse(node_, ""); }

 private:
  [[noreturn]] void refuse(const ConfigNode& found, const std::string& hint) const {
    fail_config(found.where,
                concat("'", key_, "' required ", requirement(field_), ", found ", found_text(found), hint));
  }

  double real(const ConfigNode& node) const {
    if (node.kind != ConfigNode::Kind::scalar) refuse(node, "");
    const auto value = parse_number<double>(node.text);
    if (node.quoted || !value || !std::isfinite(*value))
      refuse(node, node.quoted ? "; remove the quotation marks" : "");
    const bool too_low = field_.min_excluded ? *value <= field_.min_real : *value < field_.min_real;
    const bool too_high = field_.max_excluded ? *value >= field_.max_real : *value > field_.max_real;
    if (too_low || too_high) refuse(node, "");
    return *value;
  }

  static std::string without_tabs(std::string text) {
    std::replace(text.begin(), text.end(), '\t', ' ');
    return text;
  }

  bool is_choice(const std::string& text) const {
    for (const std::string& choice : field_.choices) {
      if (choice == text) return true;
    }
    return false;
  }

  std::string quotes_hint() const { return node_.quoted ? "; remove the quotation marks" : ""; }

  std::string integer_hint() const {
    if (node_.quoted) return quotes_hint();
    const auto value = parse_number<double>(node_.text);
    if (!value || std::floor(*value) != *value || std::fabs(*value) > 1e15) return "";
    return concat("; write ", static_cast<std::int64_t>(*value));
  }

  void check_in_scope() const {
    if (field_.key == "parallel.zero_stage" && (node_.text == "2" || node_.text == "3")) {
      fail_config(node_.where, concat("'", key_, "': ZeRO stage ", node_.text, " is out of scope; use 0 or 1"));
    }
    if (field_.key == "train.precision" && (node_.text.rfind("fp8", 0) == 0 || node_.text.rfind("float8", 0) == 0)) {
      fail_config(node_.where, concat("'", key_, "': fp8 is out of scope (not yet); use ", join(field_.choices, ", ")));
    }
  }

  const Field& field_;
  const ConfigNode& node_;
  const std::string& key_;
};

std::string without_suffix(std::string word, std::string_view suffix) {
  if (word.size() > suffix.size() && std::string_view(word).substr(word.size() - suffix.size()) == suffix) {
    word.resize(word.size() - suffix.size());
  }
  return word;
}

}  // namespace

void fail_config(const std::string& where, const std::string& text) {
  fail("config", one_line(concat(where, ": ", text)));
}

void read_value(const Field& field, const ConfigNode& node, const std::string& key) {
  std::visit(Reader(field, node, key), field.value);
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& names) {
  const std::string nearest = nearest_name(word, names);
  return nearest.empty() ? "" : concat("; did you mean '", nearest, "'?");
}

std::string out_of_scope_key(const std::string& word) {
  if (word.rfind("fp8", 0) == 0 || word.rfind("float8", 0) == 0) return "fp8 is out of scope (not yet); remove the key";
  std::string kind = word;
  for (const char* suffix : {"_size", "_degree", "_parallelism", "_parallel", "_model"}) {
    kind = without_suffix(kind, suffix);
  }
  std::string name;
  if (kind == "tensor" || kind == "tp") name = "tensor";
  if (kind == "pipeline" || kind == "pp") name = "pipeline";
  if (kind == "context" || kind == "cp") name = "context";
  if (kind == "sequence") name = "sequence";
  if (name.empty()) return "";
  return name + " parallelism is out of scope: ranks share experts (parallel.expert) and data; remove the key";
}

}  // namespace artel
