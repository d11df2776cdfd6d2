#include "data/choice_task.h"

#include "support/catch.h"
#include "support/error_text.h"
#include "support/token_files.h"

using namespace artel;

namespace {

// One byte an id.
const TaskText bytes_text = {[](std::string_view text) { return std::vector<int32_t>(text.begin(), text.end()); },
                             [](const std::vector<int32_t>& ids) { return static_cast<int64_t>(3 * ids.size()); }};

std::string example(const std::vector<int64_t>& words) {
  std::vector<int64_t> all = {65535, static_cast<int64_t>(4 + 2 * words.size())};
  all.insert(all.end(), words.begin(), words.end());
  return little_endian(all, 2);
}

// Number 0, label 2, four completions, context [7, 8], completions [1], [2, 3], [4], [5, 6, 9].
const std::string first = example({0, 2, 4, 2, 7, 8, 1, 1, 2, 2, 3, 1, 4, 3, 5, 6, 9});
const std::string second = example({1, 0, 2, 1, 9, 1, 1, 1, 2});

}  // namespace

TEST_CASE("An evaluation file of llm.c is read example by example") {
  Folder folder;
  const std::string bytes = llmc_file(20240522, 1, 2, first + second);
  REQUIRE(bytes.substr(0, 4) == std::string("\x8a\xd8\x34\x01", 4));
  const ChoiceTask task = read_choice_task("h", folder.write(bytes), {}, 10, 0);
  REQUIRE(task.examples.size() == 2);
  CHECK(task.examples[0].context == std::vector<int32_t>{7, 8});
  CHECK(task.examples[0].completions == std::vector<std::vector<int32_t>>{{1}, {2, 3}, {4}, {5, 6, 9}});
  CHECK(task.examples[0].label == 2);
  CHECK(task.examples[0].completion_bytes.empty());
  CHECK(task.examples[1].completions.size() == 2);
  const ChoiceTask some = read_choice_task("h", folder.write(bytes), bytes_text, 10, 1);
  REQUIRE(some.examples.size() == 1);
  CHECK(some.examples[0].completion_bytes == std::vector<int64_t>{3, 6, 3, 9});
}

TEST_CASE("Lines of JSON hold texts or ids") {
  Folder folder;
  const std::string lines =
      "{\"context\": \"ab\", \"completions\": [\" c\", \"d\\u00e9\"], \"label\": 1}\n\n"
      "{\"context\": [1], \"completions\": [[2], [3, 4]], \"label\": 0}";
  const ChoiceTask task = read_choice_task("t", folder.write(lines), bytes_text, 256, 0);
  REQUIRE(task.examples.size() == 2);
  CHECK(task.examples[0].context == std::vector<int32_t>{'a', 'b'});
  CHECK(task.examples[0].completion_bytes == std::vector<int64_t>{2, 3});
  CHECK(task.examples[1].completions == std::vector<std::vector<int32_t>>{{2}, {3, 4}});
  CHECK(task.examples[1].completion_bytes == std::vector<int64_t>{3, 6});
  CHECK(read_choice_task("t", folder.write(lines), bytes_text, 256, 1).examples.size() == 1);
  // A text beside ids: bytes are those of all completions or none.
  const std::string mixed = "{\"context\": [1], \"completions\": [\"c\", [3, 4]], \"label\": 0}";
  CHECK(read_choice_task("t", folder.write(mixed), bytes_text, 256, 0).examples[0].completion_bytes ==
        std::vector<int64_t>{3, 6});
  const TaskText without_bytes{bytes_text.encode, {}};
  CHECK(read_choice_task("t", folder.write(mixed), without_bytes, 256, 0).examples[0].completion_bytes.empty());
}

TEST_CASE("Each bad task file is one line that names file and example") {
  Folder folder;
  const auto text = [&](const std::string& bytes, const TaskText& how = {}) {
    const std::string path = folder.write(bytes);
    const std::string found = error_text([&] { read_choice_task("t", path, how, 10, 0); });
    CHECK(contains(found, path));
    CHECK_FALSE(contains(found, "\n"));
    return found;
  };
  CHECK(contains(text(""), "found an empty file (0 bytes)"));
  CHECK(contains(text("hello"), "found neither by its first bytes"));
  CHECK(contains(text(llmc_file(20240522, 1, 1, first).substr(0, 500)), "required a header of 1024 bytes, found 500"));
  CHECK(contains(text(llmc_file(20240522, 2, 1, first)), "required version 1"));
  CHECK(contains(text(llmc_file(20240522, 1, 2, first)), "example 1 is cut off at byte"));
  CHECK(contains(text(llmc_file(20240522, 1, 1, first.substr(0, first.size() - 1))), "example 0 is cut off"));
  CHECK(contains(text(llmc_file(20240522, 1, 1, first + "ab")), "required the end of the file behind its 1 examples"));
  CHECK(contains(text(llmc_file(20240522, 1, 1, "ab" + first)), "example 0 required 65535 at byte 1024, found 25185"));
  CHECK(contains(text(llmc_file(20240522, 1, 1, little_endian({65535, 4, 0, 0, 2, 1, 9, 1, 1, 1, 2}, 2))),
                 "required the 4 bytes that it names, found 22"));
  CHECK(
      contains(text(llmc_file(20240522, 1, 1, example({0, 2, 2, 1, 9, 1, 1, 1, 2}))), "required a label below its 2"));
  CHECK(contains(text(llmc_file(20240522, 1, 1, example({0, 0, 1, 1, 9, 1, 1}))), "required 2 or more completions"));
  CHECK(contains(text(llmc_file(20240522, 1, 1, example({0, 0, 2, 0, 1, 1, 1, 2}))), "required a context of at least"));
  CHECK(contains(text(llmc_file(20240522, 1, 1, example({0, 0, 2, 1, 10, 1, 1, 1, 2}))),
                 "required ids below model.vocab_size 10, found 10 in a context"));
  CHECK(contains(text(llmc_file(20240522, 1, 0, "")), "required at least one example"));
  CHECK(contains(text("{\"context\": \"a\"}"), ":1] context required ids, since data.tokenizer"));
  CHECK(contains(text("{\"context\": [1], \"label\": 0}"), "completions"));
  CHECK(contains(text("{\"context\": [1], \"completions\": [[1], [-2]], \"label\": 0}"),
                 "a completion required ids, found -2"));
  CHECK(contains(text("{\"context\": [1], \"completions\": 5, \"label\": 0}"), "required a list, found number"));
  CHECK(contains(text("{\"context\": [1], \"completions\": [[1], [2]], \"label\": 0}\n{oops"), ":2"));
}
