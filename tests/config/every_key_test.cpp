#include <algorithm>
#include <limits>
#include <set>

#include "config/bad_input.h"
#include "config/fields.h"

using namespace artel;

// Walks the table of keys, so that a key added there is tested here.

namespace {

/// A file of one block per part of `key`, the value on the last of these lines, and valid data behind it.
std::string file_with(const std::string& key, const std::string& value) {
  std::string out;
  std::string indent;
  for (size_t begin = 0; begin <= key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    out += concat(indent, key.substr(begin, end - begin), ":", end == key.size() ? concat(" ", value, "\n") : "\n");
    indent += "  ";
    begin = end + 1;
  }
  return out + (key.rfind("data.", 0) == 0 ? "" : "data: {train: [{path: a.bin}]}\n");
}

int line_of(const std::string& key) {
  return 1 + static_cast<int>(std::count(key.begin(), key.end(), '.'));
}

void add(std::vector<std::string>& values, std::initializer_list<const char*> more) {
  values.insert(values.end(), more.begin(), more.end());
}

void add_bad_integers(const Field& field, std::vector<std::string>& values) {
  add(values, {"x", "1.5", "'7'", "0x10", "1 2", "true", "1e400", ".nan", ".inf", "99999999999999999999"});
  if (field.min_int > -1) values.emplace_back("-1");
  if (!field.zero_is_auto) values.emplace_back("auto");
  values.push_back(concat(field.min_int - 1));
  const bool has_own_message = field.key == "parallel.zero_stage";  // what is out of scope says so
  if (field.max_int < std::numeric_limits<std::int64_t>::max() && !has_own_message) {
    values.push_back(concat(field.max_int + 1));
  }
}

void add_bad_numbers(const Field& field, std::vector<std::string>& values) {
  add(values, {"x", "'0.5'", "0.5x", "true", "auto", "1e400", ".nan", "nan", ".inf", "-.inf", "-inf", "infinity"});
  values.push_back(concat(field.min_excluded ? field.min_real : field.min_real - 0.5));
  if (field.max_real < std::numeric_limits<double>::infinity()) {
    values.push_back(concat(field.max_excluded ? field.max_real : field.max_real + 0.5));
  }
}

/// Values that the key must refuse.
std::vector<std::string> bad_values(const Field& field) {
  std::vector<std::string> values = {"", "~", "null", "{}", "{a: 1}"};
  if (std::holds_alternative<std::vector<double>*>(field.value)) {
    std::vector<std::string> items;
    add_bad_numbers(field, items);
    add(values, {"0.5", "[]", "[0.5]", "[0.5, 0.5, 0.5]", "[[0.5], 0.5]"});
    for (const std::string& item : items) values.push_back(concat("[0.5, ", item, "]"));
    return values;
  }
  if (std::holds_alternative<std::vector<DataFile>*>(field.value)) {
    add(values, {"a.bin", "7", "{path: a.bin}", "[a.bin]", "[[a.bin]]", "[{}]", "[{name: a}]", "[{path: }]",
                 "[{path: [a]}]", "[{path: a.bin, name: [b]}]"});
    if (file_list_of(field.key) != FileList::tasks) values.emplace_back("[{path: a.bin, dtype: int8}]");
    if (!field.may_be_empty) values.emplace_back("[]");
    return values;
  }
  add(values, {"[]", "[1]", "[true]"});
  if (std::holds_alternative<bool*>(field.value)) add(values, {"1", "0", "yes", "'true'", "auto", "x"});
  if (std::holds_alternative<std::int64_t*>(field.value)) add_bad_integers(field, values);
  if (std::holds_alternative<double*>(field.value)) add_bad_numbers(field, values);
  if (std::holds_alternative<std::string*>(field.value)) {
    if (!field.may_have_lines) values.emplace_back("\"a\\nb\"");
    if (!field.may_be_empty) values.emplace_back("''");
    if (!field.choices.empty()) add(values, {"7", "true", "no-such-choice"});
  }
  return values;
}

}  // namespace

TEST_CASE("every key refuses values of the wrong kind and out of bounds, naming file, line, key and what it takes") {
  Config defaults;
  size_t num_checked = 0;
  for (const Field& field : config_fields(defaults, known_routing_types())) {
    for (const std::string& value : bad_values(field)) {
      INFO(field.key << ": " << value);
      check_message(file_with(field.key, value), line_of(field.key), {concat("'", field.key), "required ", ", found "});
      ++num_checked;
    }
  }
  CHECK(num_checked > 600);
}

TEST_CASE("every key of a data file refuses values of the wrong kind and out of bounds") {
  for (const std::string list : {"data.train", "data.validation", "validation.tasks"}) {
    DataFile defaults;
    for (const Field& field : data_file_fields(defaults, file_list_of(list))) {
      for (const std::string& value : bad_values(field)) {
        const std::string path = field.key == "path" ? "" : "path: a.bin, ";
        const std::string entry = concat("[{", path, field.key, ": ", value, "}]");
        const size_t dot = list.find('.');
        check_message(concat(list.substr(0, dot), ":\n  ", list.substr(dot + 1), ": ", entry, "\n"), 2,
                      {concat("'", list, ".0.", field.key, "' required "), ", found "});
      }
    }
  }
}

TEST_CASE("every key refuses bad overrides, naming the override") {
  Config defaults;
  for (const Field& field : config_fields(defaults, known_routing_types())) {
    for (const std::string& value : bad_values(field)) {
      const std::string assignment = concat(field.key, "=", value);
      const std::string text =
          error_text([&] { parse_config("data: {train: [{path: a.bin}]}\n", "a.yaml", {assignment}); });
      INFO(text);
      CHECK(text.rfind(concat("[config] --set ", assignment, ": '", field.key), 0) == 0);
      CHECK(contains(text, "required "));
      CHECK(one_line(text) == text);
    }
  }
}

TEST_CASE("every key is known by its name alone, a letter more and a letter less") {
  Config defaults;
  const std::vector<Field> fields = config_fields(defaults, known_routing_types());
  std::set<std::string> keys;
  for (const Field& field : fields) CHECK(keys.insert(field.key).second);
  for (const Field& field : fields) {
    const std::string name = field.key.substr(field.key.rfind('.') + 1);
    for (const std::string& wrong : {field.key + "x", field.key.substr(0, field.key.size() - 1)}) {
      if (name.size() < 3 || keys.count(wrong) > 0) continue;
      const std::string text = error_text([&] { parse_config(file_with(wrong, "1"), "bad.yaml"); });
      INFO(text);
      CHECK(contains(text, concat("bad.yaml:", line_of(field.key), ": unknown key '", wrong, "'; did you mean '")));
    }
    // At the top of the file, where no block is open.
    const std::string text = error_text([&] { parse_config(concat(name, ": 1\n"), "bad.yaml"); });
    INFO(text);
    CHECK((contains(text, "unknown key") || contains(text, "' required a mapping of keys")));
  }
}
