#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <memory>

#include "cli/checkpoint_path.h"
#include "cli/commands.h"
#include "cli/option_checks.h"
#include "inspect/routing_inspector.h"
#include "train/evaluation.h"
#include "train/load_model.h"
#include "train/runtime.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

struct InspectArguments {
  std::string checkpoint;
  std::string other;
  std::vector<std::string> data;
  std::string output;
  std::string choices;
  std::int64_t threads = 0;
  bool json = false;
  InspectOptions options;
};

struct Text {
  std::string name;
  std::unique_ptr<ValidationReader> reader;
};

// The files given, else the validation sets that the checkpoint was trained with.
std::vector<Text> open_texts(const Config& config, const std::vector<std::string>& paths) {
  std::vector<DataFile> files = config.data.validation;
  if (!paths.empty()) {
    files.clear();
    for (const std::string& path : paths) {
      DataFile file;
      file.path = path;
      file.name = std::filesystem::path(path).stem().string();
      files.push_back(file);
    }
  }
  if (files.empty()) {
    fail("inspect", "required --data, found none and no validation set in the checkpoint's config");
  }
  std::vector<Text> texts;
  for (const DataFile& file : files) {
    for (const Text& text : texts) {
      if (text.name == file.name) {
        fail("inspect", concat("required texts of different names, found two named ", file.name));
      }
    }
    texts.push_back({file.name, std::make_unique<ValidationReader>(data_source(file), data_options(config))});
  }
  return texts;
}

// One JSON object a line for every token, to a file of the user's.
class ChoicesFile {
 public:
  explicit ChoicesFile(const std::string& path) : path_(path), out_(path, std::ios::binary) { check(); }
  void write(const TokenChoices& choices, const std::string& set) {
    out_ << dump_json(token_choices_json(choices, set)) << '\n';
    check();
  }
  void finish() {
    out_.flush();
    check();
  }

 private:
  void check() const {
    if (!out_) fail("inspect", concat("required to write ", path_, ", found that it cannot be written"));
  }

  std::string path_;
  std::ofstream out_;
};

void inspect(const InspectArguments& arguments) {
  PosixFileLayer files;
  Log log;
  if (!arguments.output.empty()) require_output("--output", arguments.output);
  const Checkpoint checkpoint = open_checkpoint(files, arguments.checkpoint);
  Config config = checkpoint_config(checkpoint);
  if (config.model.num_experts < 1) fail("inspect", "required a checkpoint with experts, found a dense model");
  config.train.threads = arguments.threads;
  config.train.precision = "fp32";
  const std::vector<Text> texts = open_texts(config, arguments.data);
  std::vector<InspectText> views;
  for (const Text& text : texts) views.push_back({text.name, text.reader.get()});
  InspectOptions options = arguments.options;
  options.batch_size = config.train.micro_batch_size;
  std::unique_ptr<ChoicesFile> choices;
  if (!arguments.choices.empty()) {
    choices = std::make_unique<ChoicesFile>(arguments.choices);
    options.each_token = [&](const TokenChoices& token, const std::string& set) { choices->write(token, set); };
  }

  Runtime runtime(config.train, log);
  Context& context = runtime.context();
  const auto model = load_for_inspection(context, runtime.world(), config.model, checkpoint);
  const auto without_shared = load_without_shared(context, runtime.world(), config.model, checkpoint);
  std::unique_ptr<Transformer> other;
  InspectedCheckpoint other_info;
  if (!arguments.other.empty()) {
    const Checkpoint second = open_checkpoint(files, arguments.other);
    other = load_for_inspection(context, runtime.world(), checkpoint_config(second).model, second);
    other_info = {second.path(), second.step()};
  }
  RoutingInspection inspection = inspect_routing(context, *model, other.get(), without_shared.get(), views, options);
  if (choices) choices->finish();
  inspection.name = config.run.name;
  inspection.checkpoint = {checkpoint.path(), checkpoint.step()};
  inspection.other = other_info;
  inspection.tokens_are_bytes = config.data.tokenizer == "bytes";
  print(arguments.json ? dump_json(routing_inspection_json(inspection), 1) + "\n"
                       : routing_inspection_table(inspection));
  if (!arguments.output.empty()) write_file_atomic(files, arguments.output, routing_inspection_html(inspection));
}

void add_routing_command(CLI::App& inspect_command) {
  auto arguments = std::make_shared<InspectArguments>();
  CLI::App* command = inspect_command.add_subcommand(
      "routing",
      "Look at a checkpoint's routing on texts: load, decisions, pairs, specialisation, how well the scores predict "
      "what "
      "the experts would do, what the shared expert adds (docs/inspecting_routing.md). Computed in fp32.");
  command->add_option("--checkpoint", arguments->checkpoint, "A checkpoint, or a run directory for its newest one")
      ->required()
      ->check(not_empty());
  command
      ->add_option("--data", arguments->data,
                   "Token file (may be given again: specialisation by text); default: the validation sets of the "
                   "checkpoint's config")
      ->allow_extra_args(false)
      ->check(not_empty());
  command
      ->add_option("--other", arguments->other,
                   "Another checkpoint, or a run directory: how many choices it makes alike on the same tokens")
      ->check(not_empty());
  command->add_option("--batches", arguments->options.batches, "Micro-batches to read of each text; 0: all of it")
      ->capture_default_str()
      ->check(integer_from(0));
  command
      ->add_option("--dense-tokens", arguments->options.sampled_tokens,
                   "Tokens, over all texts, that every expert is run on; 0: none")
      ->capture_default_str()
      ->check(integer_from(0));
  command
      ->add_option("--tokens", arguments->options.shown_tokens,
                   "Tokens from the start of each text whose choices the page and the JSON list")
      ->capture_default_str()
      ->check(integer_from(0));
  command->add_option("--choices", arguments->choices, "Write the choices of every token read, a JSON object a line")
      ->check(not_empty());
  command->add_option("-o,--output", arguments->output, "Write the findings as one self-contained HTML page")
      ->check(not_empty());
  command->add_flag("--json", arguments->json, "Print JSON instead of a table");
  command->add_option("--threads", arguments->threads, "Threads; 0: the cores that the process may run on")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
  command->callback([arguments] { inspect(*arguments); });
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("inspect", "Look inside a checkpoint's model");
  command->require_subcommand(1);
  add_routing_command(*command);
}

}  // namespace artel
