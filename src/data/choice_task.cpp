#include "data/choice_task.h"

#include <cstring>
#include <limits>

#include "util/error.h"
#include "util/files.h"
#include "util/json.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr size_t header_bytes = 1024;
constexpr uint32_t magic = 20240522;
constexpr uint16_t start_of_example = 65535;

[[noreturn]] void fail_file(const std::string& path, const std::string& text) {
  fail("task", concat(path, ": ", text));
}

uint32_t little_endian(std::string_view bytes, size_t at, size_t width) {
  uint32_t value = 0;
  for (size_t i = 0; i < width; ++i) value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + i])) << 8 * i;
  return value;
}

/// The uint16 numbers behind the header of an llm.c file.
class Words {
 public:
  Words(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  size_t at() const { return at_; }
  bool at_end() const { return at_ == bytes_.size(); }
  uint16_t next(int64_t example) {
    if (bytes_.size() - at_ < 2) {
      fail_file(path_, concat("example ", example, " is cut off at byte ", bytes_.size(), ", the end of the file"));
    }
    at_ += 2;
    return static_cast<uint16_t>(little_endian(bytes_, at_ - 2, 2));
  }
  std::vector<int32_t> list(int64_t example) {
    std::vector<int32_t> ids(next(example));
    for (int32_t& id : ids) id = next(example);
    return ids;
  }

 private:
  std::string_view bytes_;
  const std::string& path_;
  size_t at_ = header_bytes;
};

ChoiceExample next_llmc_example(Words& words, int64_t number, const std::string& path) {
  const size_t begin = words.at();
  if (const uint16_t start = words.next(number); start != start_of_example) {
    fail_file(path, concat("example ", number, " required ", start_of_example, " at byte ", begin, ", found ", start));
  }
  const size_t num_bytes = words.next(number);
  words.next(number);  // the example's own number
  ChoiceExample example;
  example.label = words.next(number);
  example.completions.resize(words.next(number));
  example.context = words.list(number);
  for (auto& completion : example.completions) completion = words.list(number);
  if (words.at() - begin != num_bytes) {
    fail_file(path, concat("example ", number, " required the ", num_bytes, " bytes that it names, found ",
                           words.at() - begin));
  }
  return example;
}

std::vector<ChoiceExample> read_llmc(std::string_view bytes, const std::string& path, int64_t max_examples) {
  if (bytes.size() < header_bytes) {
    fail_file(path,
              concat("required a header of ", header_bytes, " bytes, found ", bytes.size(), ": the file is cut off"));
  }
  if (const uint32_t version = little_endian(bytes, 4, 4); version != 1) {
    fail_file(path, concat("required version 1 at byte 4 of the header, found ", version));
  }
  const int64_t count = little_endian(bytes, 8, 4);
  const int64_t wanted = max_examples > 0 ? std::min(max_examples, count) : count;
  Words words(bytes, path);
  std::vector<ChoiceExample> examples;
  for (int64_t i = 0; i < wanted; ++i) examples.push_back(next_llmc_example(words, i, path));
  if (wanted == count && !words.at_end()) {
    fail_file(path, concat("required the end of the file behind its ", count, " examples, found bytes from ",
                           words.at(), " on"));
  }
  return examples;
}

/// Reads lines of JSON.
class LineReader {
 public:
  LineReader(const std::string& path, const TaskText& text) : path_(path), text_(text) {}

  ChoiceExample read(std::string_view line, int64_t number) const {
    const std::string where = concat(path_, ":", number);
    const Json json = parse_json(line, where);
    ChoiceExample example;
    example.context = ids_of(json_member(json, "context", where), where, "context");
    example.label = json_value<int64_t>(json, "label", where);
    const Json& completions = json_member(json, "completions", where);
    if (!completions.is_array()) fail(where, concat("completions required a list, found ", completions.type_name()));
    for (const Json& completion : completions) {
      example.completions.push_back(ids_of(completion, where, "a completion"));
      if (completion.is_string()) {
        example.completion_bytes.push_back(static_cast<int64_t>(completion.get_ref<const std::string&>().size()));
      }
    }
    if (example.completion_bytes.size() != example.completions.size()) example.completion_bytes.clear();
    return example;
  }

 private:
  std::vector<int32_t> ids_of(const Json& json, const std::string& where, const char* what) const {
    if (json.is_string()) {
      if (!text_.encode) {
        fail(where, concat(what,
                           " required ids, since data.tokenizer does not name a tokenizer for this vocabulary, "
                           "found a text"));
      }
      return text_.encode(json.get_ref<const std::string&>());
    }
    if (!json.is_array()) fail(where, concat(what, " required a text or a list of ids, found ", json.type_name()));
    std::vector<int32_t> ids;
    for (const Json& id : json) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > std::numeric_limits<int32_t>::max()) {
        fail(where, concat(what, " required ids, found ", excerpt_json(id)));
      }
      ids.push_back(id.get<int32_t>());
    }
    return ids;
  }

  const std::string& path_;
  const TaskText& text_;
};

std::vector<ChoiceExample> read_lines(std::string_view bytes, const std::string& path, const TaskText& text,
                                      int64_t max_examples) {
  const LineReader reader(path, text);
  std::vector<ChoiceExample> examples;
  int64_t number = 0;
  while (!bytes.empty() && (max_examples == 0 || static_cast<int64_t>(examples.size()) < max_examples)) {
    const std::string_view line = bytes.substr(0, bytes.find('\n'));
    bytes.remove_prefix(std::min(bytes.size(), line.size() + 1));
    ++number;
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) examples.push_back(reader.read(line, number));
  }
  return examples;
}

void check_ids(const std::vector<int32_t>& ids, const char* what, int64_t number, const ChoiceTask& task,
               int64_t vocab_size) {
  if (ids.empty())
    fail_file(task.path, concat("example ", number, " required ", what, " of at least one id, found none"));
  for (const int32_t id : ids) {
    if (id < vocab_size) continue;
    fail_file(task.path, concat("example ", number, " required ids below model.vocab_size ", vocab_size, ", found ", id,
                                " in ", what));
  }
}

void check_examples(const ChoiceTask& task, int64_t vocab_size) {
  if (task.examples.empty()) fail_file(task.path, "required at least one example, found none");
  for (size_t i = 0; i < task.examples.size(); ++i) {
    const ChoiceExample& example = task.examples[i];
    const auto number = static_cast<int64_t>(i);
    const auto count = static_cast<int64_t>(example.completions.size());
    if (count < 2) fail_file(task.path, concat("example ", number, " required 2 or more completions, found ", count));
    if (example.label < 0 || example.label >= count) {
      fail_file(task.path, concat("example ", number, " required a label below its ", count, " completions, found ",
                                  example.label));
    }
    check_ids(example.context, "a context", number, task, vocab_size);
    for (const auto& completion : example.completions) check_ids(completion, "a completion", number, task, vocab_size);
  }
}

}  // namespace

ChoiceTask read_choice_task(const std::string& name, const std::string& path, const TaskText& text, int64_t vocab_size,
                            int64_t max_examples) {
  const std::string bytes = read_file(path);
  if (bytes.empty()) fail_file(path, "required examples, found an empty file (0 bytes)");
  ChoiceTask task{name, path, {}};
  if (bytes.size() >= 4 && little_endian(bytes, 0, 4) == magic) {
    task.examples = read_llmc(bytes, path, max_examples);
  } else if (const size_t start = bytes.find_first_not_of(" \t\r\n");
             start != std::string::npos && bytes[start] == '{') {
    task.examples = read_lines(bytes, path, text, max_examples);
  } else {
    fail_file(path,
              "required an evaluation file of llm.c (magic 20240522) or JSON lines, found neither by its first "
              "bytes");
  }
  check_examples(task, vocab_size);
  for (ChoiceExample& example : task.examples) {
    if (!example.completion_bytes.empty() || !text.num_bytes) continue;
    for (const auto& completion : example.completions) example.completion_bytes.push_back(text.num_bytes(completion));
  }
  return task;
}

}  // namespace artel
