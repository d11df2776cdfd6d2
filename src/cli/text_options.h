#pragma once

#include <string>
#include <vector>

#include "data/text_blocks.h"
#include "tokenizer/tokenizer.h"
#include "util/log.h"

namespace CLI {
class App;
}

namespace artel {

/// What commands that read text have in common.
struct TextArguments {
  std::vector<std::string> inputs;
  bool jsonl = false;
  std::string field = "text";
  std::string separator;
  std::string invalid = "keep";
  std::int64_t threads = 0;
};

void add_text_options(CLI::App& command, TextArguments& arguments);

/// Throws Error naming the option.
TextFormat text_format(const TextArguments& arguments);
/// The threads asked for, or a thread for each core that the process may run on.
int num_threads(const TextArguments& arguments);

/// Opens a tokenizer; a warning says when it has no token for some bytes.
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& name, Log& log);

/// One line on standard error that is drawn again on a terminal, and a line every ten seconds elsewhere.
class TextProgress {
 public:
  TextProgress();
  void update(std::int64_t stored_bytes_read, std::int64_t stored_bytes, std::int64_t text_bytes,
              const std::string& rest = "");
  void finish_line();

 private:
  double start_, last_shown_;
  bool terminal_;
  bool line_open_ = false;
};

/// Seconds of a clock that never goes back.
double monotonic_seconds();

}  // namespace artel
