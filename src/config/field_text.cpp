#include <algorithm>
#include <string_view>
#include <utility>

#include "config/fields.h"
#include "util/text.h"

namespace artel {
namespace {

/// "1.0e-05" and "3.0" instead of the shortest "1e-05" and "3", which YAML 1.1 readers take for a text or an integer.
std::string real_text(double value) {
  std::string text = concat(value);
  if (text.find('.') != std::string::npos) return text;
  const size_t exponent = text.find('e');
  text.insert(exponent == std::string::npos ? text.size() : exponent, ".0");
  return text;
}

std::string real_requirement(const Field& field, bool plural) {
  std::string bounds;
  if (field.min_real != -std::numeric_limits<double>::infinity()) {
    bounds = concat(field.min_excluded ? " above " : " of at least ", field.min_real);
  }
  if (field.max_real != std::numeric_limits<double>::infinity()) {
    bounds += concat(bounds.empty() ? "" : " and", field.max_excluded ? " below " : " of at most ", field.max_real);
  }
  return plural ? concat("a list of ", field.list_size, " finite numbers, each", bounds)
                : concat("a finite number", bounds);
}

std::string files_text(const std::vector<DataFile>& files, FileList in) {
  std::vector<std::string> entries;
  for (DataFile file : files) {
    std::vector<std::string> members;
    for (const Field& field : data_file_fields(file, in)) {
      members.push_back(concat(field.key, ": ", value_text(field)));
    }
    entries.push_back(concat("{", join(members, ", "), "}"));
  }
  return concat("[", join(entries, ", "), "]");
}

bool plain_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || c == '/';
}

}  // namespace

Field& Field::integers(std::int64_t low, std::int64_t high) {
  min_int = low;
  max_int = high;
  return *this;
}

Field& Field::from(double low) {
  min_real = low;
  min_excluded = false;
  return *this;
}

Field& Field::above(double low) {
  min_real = low;
  min_excluded = true;
  return *this;
}

Field& Field::up_to(double high) {
  max_real = high;
  max_excluded = false;
  return *this;
}

Field& Field::below(double high) {
  max_real = high;
  max_excluded = true;
  return *this;
}

Field& Field::one_of(std::vector<std::string> names) {
  choices = std::move(names);
  return *this;
}

Field& Field::or_auto() {
  zero_is_auto = true;
  return *this;
}

Field& Field::or_empty() {
  may_be_empty = true;
  return *this;
}

Field& Field::or_lines() {
  may_have_lines = true;
  return *this;
}

Field& Field::numbers(size_t count) {
  list_size = count;
  return *this;
}

std::string requirement(const Field& field) {
  if (std::holds_alternative<bool*>(field.value)) return "true or false";
  if (std::holds_alternative<double*>(field.value)) return real_requirement(field, false);
  if (std::holds_alternative<std::vector<double>*>(field.value)) return real_requirement(field, true);
  if (std::holds_alternative<std::vector<DataFile>*>(field.value)) {
    return field.may_be_empty ? "a list of files such as [{path: FILE}]"
                              : "a list of files such as [{path: FILE}], not empty";
  }
  if (std::holds_alternative<std::int64_t*>(field.value)) {
    const std::string bounds = field.max_int == std::numeric_limits<std::int64_t>::max()
                                   ? concat("an integer of at least ", field.min_int)
                                   : concat("an integer from ", field.min_int, " to ", field.max_int);
    return field.zero_is_auto ? bounds + " or 'auto'" : bounds;
  }
  if (field.choices.empty()) return field.may_be_empty ? "a text" : "a text, not empty";
  return concat("one of ", join(field.choices, ", "));
}

std::string value_text(const Field& field) {
  if (const auto* text = std::get_if<std::string*>(&field.value)) return quote_yaml(**text);
  if (const auto* flag = std::get_if<bool*>(&field.value)) return concat(**flag);
  if (const auto* real = std::get_if<double*>(&field.value)) return real_text(**real);
  if (const auto* reals = std::get_if<std::vector<double>*>(&field.value)) {
    std::vector<std::string> texts;
    std::transform((*reals)->begin(), (*reals)->end(), std::back_inserter(texts), real_text);
    return concat("[", join(texts, ", "), "]");
  }
  if (const auto* files = std::get_if<std::vector<DataFile>*>(&field.value)) {
    return files_text(**files, file_list_of(field.key));
  }
  const std::int64_t integer = *std::get<std::int64_t*>(field.value);
  return field.zero_is_auto && integer == 0 ? "auto" : concat(integer);
}

std::string quote_yaml(const std::string& text) {
  static const std::vector<std::string> reserved = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  const bool begins_as_text =
      !text.empty() && (text[0] == '_' || text[0] == '/' || (lower[0] >= 'a' && lower[0] <= 'z'));
  if (begins_as_text && std::all_of(text.begin(), text.end(), plain_letter) &&
      std::find(reserved.begin(), reserved.end(), lower) == reserved.end()) {
    return text;
  }
  std::string out = "\"";
  for (const char c : text) {
    constexpr std::string_view hex = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += concat('\\', c);
    } else if (byte < 0x20 || byte == 0x7F) {
      out += concat("\\x", hex[byte / 16], hex[byte % 16]);
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace artel
