#include "util/json.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "util/text.h"

namespace artel {
namespace {

// nlohmann's texts read "[json.exception.parse_error.101] parse error at line 1, column 2: cause"; only the cause is
// for users.
std::string cause_of(const std::string& text) {
  std::string cause = text;
  if (const size_t bracket = cause.find("] "); bracket != std::string::npos) cause = cause.substr(bracket + 2);
  if (cause.rfind("parse error", 0) == 0) {
    if (const size_t colon = cause.find(": "); colon != std::string::npos) cause = cause.substr(colon + 2);
  }
  constexpr size_t max_cause_bytes = 200;  // a damaged file may quote itself at length
  if (cause.size() > max_cause_bytes) cause = cause.substr(0, max_cause_bytes) + "...";
  return cause;
}

[[noreturn]] void fail_type(std::string_view where, std::string_view key, const char* wanted, const Json& found) {
  fail(where, concat("member \"", key, "\" required ", wanted, ", found ", excerpt_json(found)));
}

template <typename T>
T integer_of(const Json& value, std::string_view key, std::string_view where) {
  const std::string wanted =
      concat("an integer from ", std::numeric_limits<T>::min(), " to ", std::numeric_limits<T>::max());
  if (!value.is_number_integer()) fail_type(where, key, wanted.c_str(), value);
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<T>::max())) fail_type(where, key, wanted.c_str(), value);
    return static_cast<T>(number);
  }
  const auto number = value.get<int64_t>();
  bool fits = number >= 0;
  if constexpr (std::is_signed_v<T>) {
    fits = number >= static_cast<int64_t>(std::numeric_limits<T>::min()) &&
           number <= static_cast<int64_t>(std::numeric_limits<T>::max());
  } else {
    fits = fits && static_cast<uint64_t>(number) <= static_cast<uint64_t>(std::numeric_limits<T>::max());
  }
  if (!fits) fail_type(where, key, wanted.c_str(), value);
  return static_cast<T>(number);
}

// Documents are copied, written and destroyed by functions that call themselves for every level.
void check_depth(std::string_view text, std::string_view where) {
  constexpr int max_depth = 100;
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char letter = text[i];
    if (in_string && letter == '\\') {
      ++i;
    } else if (letter == '"') {
      in_string = !in_string;
    } else if (!in_string && (letter == '[' || letter == '{') && ++depth > max_depth) {
      fail(where, concat("required JSON of at most ", max_depth, " levels, found more at byte ", i));
    } else if (!in_string && (letter == ']' || letter == '}')) {
      --depth;
    }
  }
}

template <typename Document>
Document parse(std::string_view text, std::string_view where) {
  check_depth(text, where);
  try {
    return Document::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& error) {
    const size_t offset = std::min(error.byte > 0 ? error.byte - 1 : 0, text.size());
    const std::string_view before = text.substr(0, offset);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const size_t newline = before.rfind('\n');
    const size_t column = offset - (newline == std::string_view::npos ? 0 : newline + 1) + 1;
    fail(where,
         concat("required JSON, found an error at line ", line, ", column ", column, ": ", cause_of(error.what())));
  } catch (const nlohmann::json::exception& error) {
    fail(where, concat("required JSON, found an error: ", cause_of(error.what())));
  }
}

}  // namespace

Json parse_json(std::string_view text, std::string_view where) {
  return parse<Json>(text, where);
}

SortedJson parse_sorted_json(std::string_view text, std::string_view where) {
  return parse<SortedJson>(text, where);
}

std::string dump_json(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string excerpt_json(const Json& json) {
  std::string text = dump_json(json);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

const Json& json_member(const Json& object, std::string_view key, std::string_view where) {
  if (!object.is_object())
    fail(where, concat("required an object with member \"", key, "\", found ", object.type_name()));
  const auto found = object.find(std::string(key));
  if (found == object.end()) fail(where, concat("required member \"", key, "\", found none"));
  return *found;
}

template <typename T>
T json_value(const Json& object, std::string_view key, std::string_view where) {
  const Json& value = json_member(object, key, where);
  if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) fail_type(where, key, "true or false", value);
    return value.get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    return integer_of<T>(value, key, where);
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!value.is_number()) fail_type(where, key, "a number", value);
    return value.get<T>();
  } else {
    if (!value.is_string()) fail_type(where, key, "a string", value);
    return value.get<std::string>();
  }
}

template bool json_value<bool>(const Json&, std::string_view, std::string_view);
template int32_t json_value<int32_t>(const Json&, std::string_view, std::string_view);
template uint32_t json_value<uint32_t>(const Json&, std::string_view, std::string_view);
template int64_t json_value<int64_t>(const Json&, std::string_view, std::string_view);
template uint64_t json_value<uint64_t>(const Json&, std::string_view, std::string_view);
template double json_value<double>(const Json&, std::string_view, std::string_view);
template std::string json_value<std::string>(const Json&, std::string_view, std::string_view);

}  // namespace artel
