#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>

#include "cli/checkpoint_path.h"
#include "cli/commands.h"
#include "cli/option_checks.h"
#include "train/choice_evaluation.h"
#include "train/evaluation.h"
#include "train/load_model.h"
#include "train/runtime.h"
#include "util/error.h"
#include "util/npy.h"
#include "util/text.h"

namespace artel {
namespace {

struct EvalArguments {
  std::string checkpoint;
  std::string data;
  std::vector<std::string> tasks;
  std::int64_t batches = 0;
  std::int64_t task_examples = 0;
  std::string logits;
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

Json loss_json(Context& context, Transformer& model, const Config& config, const ValidationReader& reader,
               std::int64_t batches) {
  const std::vector<std::int32_t> bytes = bytes_of_ids(config);
  EvaluationOptions options = evaluation_options(config, batches);
  options.bytes_of_id = &bytes;
  const Evaluation result = evaluate(context, model, reader, options);
  if (result.error) std::rethrow_exception(result.error);
  Json json;
  json["loss"] = result.loss;
  json["perplexity"] = std::exp(result.loss);
  json["tokens"] = result.tokens;
  if (const auto bits = bits_per_byte(result)) json["bits_per_byte"] = *bits;
  return json;
}

std::vector<ChoiceTask> open_tasks(const Config& config, const EvalArguments& arguments) {
  std::vector<ChoiceTask> tasks;
  if (arguments.tasks.empty()) return tasks;
  const TaskText text = task_text(config);
  for (const std::string& path : arguments.tasks) {
    const std::string name = std::filesystem::path(path).stem().string();
    for (const ChoiceTask& task : tasks) {
      if (task.name == name) fail("eval", concat("required tasks of different names, found two named ", name));
    }
    tasks.push_back(read_choice_task(name, path, text, config.model.vocab_size, arguments.task_examples));
  }
  return tasks;
}

// The logits of every position of the first windows, [windows, sequence length, V], in NumPy's format, a
// micro-batch at a time.
void write_windows(Context& context, Transformer& model, const ValidationReader& reader, const Config& config,
                   std::int64_t num_windows, FileLayer& files, OutputFile& file) {
  const std::int64_t length = config.model.max_position_embeddings;
  const std::string header = npy_header("<f4", {num_windows, length, config.model.vocab_size});
  files.write(file, header.data(), header.size());
  Batch batch;
  std::vector<float> values;
  for (std::int64_t first = 0; first < num_windows; first += config.train.micro_batch_size) {
    reader.read(first, std::min(config.train.micro_batch_size, num_windows - first), batch);
    const bool masked = !batch.document_starts.empty();
    const Tensor logits = model.logits(context, upload_ids(context, batch.inputs), batch.num_samples,
                                       masked ? upload_ids(context, batch.document_starts) : Tensor());
    values.resize(static_cast<std::size_t>(logits.numel()));
    context.backend.download(logits, values.data());
    files.write(file, values.data(), values.size() * sizeof(float));
  }
}

void write_logits(Context& context, Transformer& model, const ValidationReader& reader, const Config& config,
                  std::int64_t num_windows, const std::string& path) {
  PosixFileLayer files;
  const std::string temporary = path + ".tmp";
  OutputFile file = files.open_write(temporary);
  try {
    write_windows(context, model, reader, config, num_windows, files, file);
    files.close(file);
    files.rename(temporary, path);
  } catch (const Error&) {
    remove_quietly(files, temporary);
    throw;
  }
}

void eval(const EvalArguments& arguments) {
  PosixFileLayer files;
  Log log;
  if (!arguments.logits.empty()) {
    require_output("--logits", arguments.logits);
    if (!arguments.tasks.empty() && arguments.data.empty()) {
      fail("eval", "required --data beside --logits, found tasks alone");
    }
  }
  const Checkpoint checkpoint = open_checkpoint(files, arguments.checkpoint);
  const Config config = checkpoint_config(checkpoint);
  const std::vector<ChoiceTask> tasks = open_tasks(config, arguments);
  std::optional<ValidationReader> reader;
  if (tasks.empty() || !arguments.data.empty()) reader.emplace(open_data(config, arguments.data));
  Runtime runtime(config.train, log);
  Transformer model(config.model, runtime.world());
  model.allocate(runtime.context(), runtime.dtype());
  load_model(runtime.context(), checkpoint, model);
  Json json;
  if (reader) json = loss_json(runtime.context(), model, config, *reader, arguments.batches);
  EvaluationOptions options = evaluation_options(config, 0);
  if (!tasks.empty()) options.document_end = masked_document_end(config);
  for (const ChoiceTask& task : tasks) {
    json["tasks"][task.name] = choice_scores_json(evaluate_choices(runtime.context(), model, task, options));
  }
  print(dump_json(json) + "\n");
  if (!arguments.logits.empty()) {
    const auto num_windows = json["tokens"].get<std::int64_t>() / config.model.max_position_embeddings;
    write_logits(runtime.context(), model, *reader, config, num_windows, arguments.logits);
  }
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command = app.add_subcommand(
      "eval",
      "Print the loss of a checkpoint on a token file, and what it gets right of multiple-choice tasks, as JSON");
  command->add_option("--checkpoint", arguments->checkpoint, "A checkpoint, or a run directory for its newest one")
      ->required()
      ->check(not_empty());
  command
      ->add_option("--data", arguments->data,
                   "Token file; default: the first validation set of the checkpoint's config")
      ->check(not_empty("a token file"));
  command
      ->add_option("--batches", arguments->batches,
                   "Batches of train.global_batch_size windows to read; 0: the whole file")
      ->capture_default_str()
      ->check(integer_from(0));
  command
      ->add_option("--task", arguments->tasks,
                   "Multiple-choice file, of llm.c or JSON lines (docs/data.md); may be given again. The loss is then "
                   "printed only with --data")
      ->allow_extra_args(false)
      ->check(not_empty());
  command->add_option("--task-examples", arguments->task_examples, "First examples to read of each task; 0: all")
      ->capture_default_str()
      ->check(integer_from(0));
  command
      ->add_option("--logits", arguments->logits,
                   "Also write the logits to this .npy file: f32 [windows, max_position_embeddings, vocab_size]; "
                   "window i holds tokens i * (max_position_embeddings + 1) and on, its documents masked as in "
                   "training")
      ->check(not_empty());
  command->callback([arguments] { eval(*arguments); });
}

}  // namespace artel
