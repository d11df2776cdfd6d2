#include "model/generate.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <optional>

#include "cli/checkpoint_path.h"
#include "cli/commands.h"
#include "cli/option_checks.h"
#include "tokenizer/tokenizer.h"
#include "train/evaluation.h"
#include "train/load_model.h"
#include "train/runtime.h"
#include "util/error.h"
#include "util/text.h"
#include "util/utf8.h"

namespace artel {
namespace {

struct GenerateArguments {
  std::string checkpoint;
  std::optional<std::string> prompt;
  std::string prompt_file;
  std::int64_t threads = 0;
  bool ignore_end = false;
  GenerateOptions options;
};

// Text to standard output as it comes: as it is into files and pipes, harmless on a terminal.
class OutputText {
 public:
  void add(const std::string& text) { print(on_terminal_ ? terminal_.add(text) : text); }
  void finish() {
    if (on_terminal_) print(terminal_.finish() + "\n");
  }

 private:
  bool on_terminal_ = ::isatty(STDOUT_FILENO) == 1;
  TerminalText terminal_;
};

std::string prompt_text(const GenerateArguments& arguments) {
  const bool from_file = !arguments.prompt_file.empty();
  if (from_file == arguments.prompt.has_value()) {
    fail("generate", concat("required --prompt or --prompt-file, found ", from_file ? "both" : "neither"));
  }
  std::string text = from_file ? read_file(arguments.prompt_file) : *arguments.prompt;
  if (text.empty()) {
    fail("generate", concat("required a prompt of at least one byte, found ",
                            from_file ? "an empty file " + arguments.prompt_file : std::string("an empty --prompt")));
  }
  return text;
}

void generate_text(const GenerateArguments& arguments) {
  using Clock = std::chrono::steady_clock;
  const std::string text = prompt_text(arguments);
  check_sampling_options(arguments.options.sampling);
  PosixFileLayer files;
  Log log;
  const Checkpoint checkpoint = open_checkpoint(files, arguments.checkpoint);
  Config config = checkpoint_config(checkpoint);
  config.train.threads = arguments.threads;
  const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(config.data.tokenizer);
  const std::vector<std::int32_t> prompt = tokenizer->encode(text);
  check_prompt(prompt, config.model.vocab_size);
  GenerateOptions options = arguments.options;
  options.sampling.num_ids = std::min(tokenizer->num_ids(), config.model.vocab_size);
  options.sampling.missing_ids = tokenizer->missing_ids();
  if (!arguments.ignore_end && tokenizer->has_end_of_document()) options.stop_id = tokenizer->end_of_document();
  options.document_end = masked_document_end(config);

  Runtime runtime(config.train, log);
  Transformer model(config.model, runtime.world());
  model.allocate(runtime.context(), runtime.dtype());
  load_model(runtime.context(), checkpoint, model);
  OutputText output;
  const auto start = Clock::now();
  const auto made = generate(runtime.context(), model, prompt, options, [&](std::int32_t id) {
    output.add(tokenizer->decode({id}));
    return true;
  });
  output.finish();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const auto text_length = static_cast<std::int64_t>(prompt.size()) + options.num_tokens;
  const auto cache = static_cast<double>(cache_bytes(config.model, runtime.dtype(), text_length));
  const bool ended = static_cast<std::int64_t>(made.size()) < options.num_tokens;
  log.info(concat(made.size(), " tokens", ended ? ", up to the end of the document" : "", ", ",
                  format_fixed(static_cast<double>(made.size()) / std::max(seconds, 1e-9), 1),
                  " tokens/s, key/value cache of ", format_bytes(cache)));
}

}  // namespace

void add_generate_command(CLI::App& app) {
  auto arguments = std::make_shared<GenerateArguments>();
  GenerateOptions& options = arguments->options;
  CLI::App* command = app.add_subcommand(
      "generate",
      "Continue a prompt with a checkpoint's model. The new text alone goes to standard output, token by token. Equal "
      "seeds give equal text on any number of threads. The model sees the last max_position_embeddings tokens (of "
      "the last document, when it was trained with data.document_mask): up to there keys and values are kept (2 * "
      "layers * num_key_value_heads * head_dim elements a token) and a token costs "
      "a pass over itself, behind that a pass over all it sees.");
  command->add_option("--checkpoint", arguments->checkpoint, "A checkpoint, or a run directory for its newest one")
      ->required()
      ->check(not_empty());
  command->add_option("--prompt", arguments->prompt, "Text to continue");
  command->add_option("--prompt-file", arguments->prompt_file, "File with the text to continue, every byte of it")
      ->check(not_empty());
  command->add_option("--tokens", options.num_tokens, "Most tokens to make")
      ->capture_default_str()
      ->check(integer_from(1));
  command->add_option("--seed", options.seed, "Seed of the choices")
      ->capture_default_str()
      ->check(integer_from(0, std::numeric_limits<std::int64_t>::max()));
  command
      ->add_option("--temperature", options.sampling.temperature,
                   "Logits are divided by it; 0 takes the most probable token each time")
      ->capture_default_str();
  command->add_option("--top-k", options.sampling.top_k, "Choose among the k most probable tokens; 0: among all")
      ->capture_default_str()
      ->check(integer_from(0));
  command
      ->add_option("--top-p", options.sampling.top_p,
                   "Choose among the fewest most probable tokens that together have this probability")
      ->capture_default_str();
  command->add_flag("--ignore-end", arguments->ignore_end, "Go on behind the token that ends a document");
  command->add_option("--threads", arguments->threads, "Threads; 0: the cores that the process may run on")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
  command->callback([arguments] { generate_text(*arguments); });
}

}  // namespace artel
