#include "data/choice_task.h"
#include "fuzz/fuzz.h"
#include "support/temporary_directory.h"

// A multiple-choice file, of llm.c or JSON lines.

using namespace artel;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t vocab_size = 300;
  static const TemporaryDirectory directory;
  const TaskText text = {[](std::string_view bytes) {
                           std::vector<int32_t> ids;
                           for (const char c : bytes) ids.push_back(static_cast<unsigned char>(c));
                           return ids;
                         },
                         [](const std::vector<int32_t>& ids) { return static_cast<int64_t>(ids.size()); }};
  const std::string path = directory.file("task");
  write_bytes(path, {reinterpret_cast<const char*>(data), size});
  ChoiceTask task;
  if (!refusal_of([&] { task = read_choice_task("task", path, text, vocab_size, 0); }).empty()) return 0;
  check(!task.examples.empty(), "a task has examples");
  for (const ChoiceExample& example : task.examples) {
    const auto count = static_cast<int64_t>(example.completions.size());
    check(example.label >= 0 && example.label < count, "the label is one of the completions");
    check(static_cast<int64_t>(example.completion_bytes.size()) == count, "every completion has bytes");
    check(!example.context.empty(), "a context has ids");
    for (const auto& completion : example.completions) {
      check(!completion.empty(), "a completion has ids");
      for (const int32_t id : completion) check(id >= 0 && id < vocab_size, "ids lie in the vocabulary");
    }
  }
  return 0;
}
