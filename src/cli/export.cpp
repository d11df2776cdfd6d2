#include <CLI/CLI.hpp>
#include <memory>

#include "cli/checkpoint_path.h"
#include "cli/commands.h"
#include "cli/option_checks.h"
#include "huggingface/export.h"
#include "tokenizer/tokenizer.h"
#include "train/load_model.h"
#include "util/error.h"
#include "util/log.h"
#include "util/text.h"

namespace artel {
namespace {

struct ExportArguments {
  std::string checkpoint;
  std::string format = "hf";
  std::string layout = "auto";
  std::string output;
  std::string dtype = "auto";
  std::string max_shard_size = "5GB";
  std::string tokenizer;
};

std::optional<DType> parse_dtype(const std::string& name) {
  if (name == "fp32") return DType::f32;
  if (name == "bf16") return DType::bf16;
  return std::nullopt;
}

void add_tokenizer(FileLayer& files, const std::string& name, const ModelConfig& model, ExportOptions& options) {
  if (name == "none") return;
  options.tokenizer = tokenizer_files(files, name, model);
  const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(name);
  if (tokenizer->num_ids() > model.vocab_size) {
    fail("export", concat("required a tokenizer of at most vocab_size = ", model.vocab_size, " ids, found ",
                          tokenizer->num_ids(), " in ", name, "; --tokenizer none leaves it out"));
  }
  if (!tokenizer->has_end_of_document()) return;
  options.ids.end = tokenizer->end_of_document();
  options.ids.begin = options.ids.end;  // a document begins where the one before it ended
}

void export_model(const ExportArguments& arguments) {
  PosixFileLayer files;
  Log log;
  const Checkpoint checkpoint = open_checkpoint(files, arguments.checkpoint);
  const Config config = checkpoint_config(checkpoint);
  ExportOptions options;
  options.layout = choose_hf_layout(config.model, arguments.layout);
  options.dtype = parse_dtype(arguments.dtype);
  options.max_shard_bytes = parse_byte_size(arguments.max_shard_size, "--max-shard-size");
  add_tokenizer(files, arguments.tokenizer.empty() ? config.data.tokenizer : arguments.tokenizer, config.model,
                options);
  const ExportResult result = export_checkpoint(files, checkpoint, config.model, options, arguments.output);
  log.info(concat(arguments.output, ": step ", checkpoint.step(), " as ", hf_architecture(options.layout), ", ",
                  result.num_tensors, " tensors of ", dtype_name(result.dtype), ", ",
                  format_bytes(static_cast<double>(result.bytes)), " in ", result.num_shards,
                  result.num_shards == 1 ? " file" : " files"));
}

}  // namespace

void add_export_command(CLI::App& app) {
  auto arguments = std::make_shared<ExportArguments>();
  CLI::App* command = app.add_subcommand(
      "export",
      "Write a checkpoint's model for other programs (docs/huggingface.md). What a layout cannot express is refused, "
      "never approximated.");
  command->add_option("--checkpoint", arguments->checkpoint, "A checkpoint, or a run directory for its newest one")
      ->required()
      ->check(not_empty());
  command->add_option("--format", arguments->format, "hf: a Hugging Face checkpoint")
      ->capture_default_str()
      ->check(CLI::IsMember({"hf"}));
  command
      ->add_option("--layout", arguments->layout,
                   "auto: the first that fits of mixtral, qwen3_moe, qwen2_moe, llama, qwen3, artel; or one of them. "
                   "artel holds every model and needs trust_remote_code")
      ->capture_default_str();
  command->add_option("--output", arguments->output, "Directory to make; it must not exist")
      ->required()
      ->check(not_empty());
  command->add_option("--dtype", arguments->dtype, "auto: as the model was trained; fp32 of a bf16 run: its masters")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}));
  command
      ->add_option("--max-shard-size", arguments->max_shard_size,
                   "Most bytes of tensors in a file, such as 5GB or 500MB; a larger tensor has a file of its own")
      ->capture_default_str();
  command
      ->add_option("--tokenizer", arguments->tokenizer,
                   "A tokenizer.json, bytes, or none; default: data.tokenizer of the run")
      ->check(not_empty());
  command->callback([arguments] { export_model(*arguments); });
}

}  // namespace artel
