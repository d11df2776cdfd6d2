#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>

#include "cli/checkpoint_path.h"
#include "cli/commands.h"
#include "train/evaluation.h"
#include "train/load_model.h"
#include "train/runtime.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

struct EvalArguments {
  std::string checkpoint;
  std::string data;
  std::int64_t batches = 0;
};

ValidationReader open_data(const Config& config, const std::string& path) {
  DataSource source;
  if (!path.empty()) {
    source.path = path;
  } else if (!config.data.validation.empty()) {
    source = data_source(config.data.validation.front());
  } else {
    fail("eval", "required --data, found none and no validation set in the checkpoint's config");
  }
  return {source, data_options(config)};
}

void eval(const EvalArguments& arguments) {
  PosixFileLayer files;
  Log log;
  const Checkpoint checkpoint = open_checkpoint(files, arguments.checkpoint);
  const Config config = checkpoint_config(checkpoint);
  const ValidationReader reader = open_data(config, arguments.data);
  Runtime runtime(config.train, log);
  Transformer model(config.model, runtime.world());
  model.allocate(runtime.context(), runtime.dtype());
  load_model(runtime.context(), checkpoint, model);
  const Evaluation result = evaluate(runtime.context(), model, reader, evaluation_options(config, arguments.batches));
  Json json;
  json["loss"] = result.loss;
  json["perplexity"] = std::exp(result.loss);
  json["tokens"] = result.tokens;
  print(dump_json(json) + "\n");
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command = app.add_subcommand("eval", "Print the loss of a checkpoint on a token file as JSON");
  command->add_option("--checkpoint", arguments->checkpoint, "A checkpoint, or a run directory for its newest one")
      ->required();
  command->add_option("--data", arguments->data,
                      "Token file; default: the first validation set of the checkpoint's config");
  command->add_option("--batches", arguments->batches, "Micro-batches to read; 0: the whole file")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->callback([arguments] { eval(*arguments); });
}

}  // namespace artel
