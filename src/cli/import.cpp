#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/option_checks.h"
#include "config/yaml.h"
#include "huggingface/import.h"
#include "util/log.h"
#include "util/text.h"

namespace artel {
namespace {

struct ImportArguments {
  std::string from;
  std::string output;
  std::string config;
  std::vector<std::string> overrides;
  std::string dtype = "auto";
};

// Stands where a run without data would have none; training from this config asks for a file of that name.
constexpr const char* no_data = "data: {train: [{path: set-data.train}]}\n";

void import_model(const ImportArguments& arguments) {
  PosixFileLayer files;
  Log log;
  const HfConfig source = read_hf_config(files, arguments.from);
  const ParseOptions parsing{.base = base_config(source)};
  const Config config = arguments.config.empty() ? parse_config(no_data, "artel import", arguments.overrides, parsing)
                                                 : load_config(arguments.config, arguments.overrides, parsing);
  std::optional<DType> dtype;
  if (arguments.dtype != "auto") dtype = arguments.dtype == "bf16" ? DType::bf16 : DType::f32;
  const ImportResult result = import_checkpoint(files, arguments.from, source, config, dtype, arguments.output);
  if (!result.upcycled.empty()) log.info(result.upcycled);
  log.info(concat(result.checkpoint, ": ", hf_architecture(source.layout), ", ",
                  format_count(static_cast<double>(result.num_parameters)), " parameters in ", result.num_tensors,
                  " tensors of ", dtype_name(result.dtype), "; to train: artel train -c ", arguments.output,
                  "/config.yaml --set train.init_from=", arguments.output));
}

}  // namespace

void add_import_command(CLI::App& app) {
  auto arguments = std::make_shared<ImportArguments>();
  CLI::App* command = app.add_subcommand(
      "import",
      "Make an Artel checkpoint of a Hugging Face one, to evaluate, generate and train from (docs/huggingface.md). "
      "Layouts: mixtral, qwen3_moe, qwen2_moe, llama, qwen3, artel. A dense model becomes one of experts (sparse "
      "upcycling) where the config sets model.num_experts.");
  command->add_option("--from", arguments->from, "Directory with config.json and safetensors files")
      ->required()
      ->check(not_empty());
  command
      ->add_option("--output", arguments->output,
                   "Run directory to make: config.yaml and checkpoints/step-00000000, of weights alone")
      ->required()
      ->check(not_empty());
  command
      ->add_option("-c,--config", arguments->config,
                   "YAML file of the run to come; keys of the model that it leaves out are the source's")
      ->check(not_empty());
  command->add_option("--set", arguments->overrides, "Override a key: --set model.num_experts=8 (may be given again)")
      ->allow_extra_args(false);
  command->add_option("--dtype", arguments->dtype, "auto: as the source")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}));
  command->callback([arguments] { import_model(*arguments); });
}

}  // namespace artel
