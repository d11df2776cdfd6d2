#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace artel {

/// A question: which of several completions follows the context.
struct ChoiceExample {
  std::vector<int32_t> context;                   ///< one id at least
  std::vector<std::vector<int32_t>> completions;  ///< two at least, each of one id at least
  std::vector<int64_t> completion_bytes;          ///< of the text of each; empty: not known
  int64_t label = 0;                              ///< the right one
};

struct ChoiceTask {
  std::string name;
  std::string path;
  std::vector<ChoiceExample> examples;  ///< one at least
};

/// How texts become ids and ids texts; without a tokenizer the functions are empty.
struct TaskText {
  std::function<std::vector<int32_t>(std::string_view)> encode;
  std::function<int64_t(const std::vector<int32_t>&)> num_bytes;  ///< of the text of ids
};

/// Reads the first `max_examples` (0: all) of an evaluation file of llm.c (magic 20240522) or of JSON lines
/// {"context", "completions", "label"}, whose texts may be lists of ids (docs/data.md). Throws Error naming the file
/// and the example or line that is cut off, at odds with the header, or has an id outside [0, vocab_size).
ChoiceTask read_choice_task(const std::string& name, const std::string& path, const TaskText& text, int64_t vocab_size,
                            int64_t max_examples);

}  // namespace artel
