#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/option_checks.h"
#include "config/yaml.h"
#include "model/count.h"
#include "train/runtime.h"

namespace artel {
namespace {

struct DescribeArguments {
  std::vector<std::string> configs;
  std::vector<std::string> overrides;
  std::int64_t world = 1;
  double max_load = 1.0;
  bool json = false;
};

RankLayout layout_of(const Config& config, const DescribeArguments& arguments) {
  return {.world = arguments.world,
          .device = config.train.device == "cuda" ? Device::cuda : Device::cpu,
          .bf16 = auto_precision_is_bf16(config.train.device),
          .max_load = arguments.max_load};
}

void describe(const DescribeArguments& arguments) {
  std::string text;
  Json list = Json::array();
  for (const std::string& path : arguments.configs) {
    const Config config = load_config(path, arguments.overrides);
    const RankLayout layout = layout_of(config, arguments);
    list.push_back(describe_json(config, layout));
    text += (text.empty() ? "" : "\n") + describe_text(config, layout);
  }
  print(arguments.json ? dump_json(list.size() == 1 ? list[0] : list, 2) + "\n" : text);
}

}  // namespace

void add_describe_command(CLI::App& app) {
  auto arguments = std::make_shared<DescribeArguments>();
  CLI::App* command =
      app.add_subcommand("describe",
                         "Print parameters, FLOPs per token and memory per rank of configs, which with precision: auto "
                         "is that of a run on this machine");
  command->add_option("-c,--config", arguments->configs, "YAML file (may be given again)")
      ->required()
      ->allow_extra_args(false)
      ->check(not_empty());
  command->add_option("--set", arguments->overrides, "Override a key (may be given again)")->allow_extra_args(false);
  command->add_option("--ranks", arguments->world, "Ranks that memory is spread over")
      ->capture_default_str()
      ->check(integer_from(1));
  command
      ->add_option("--max-load", arguments->max_load,
                   "Rows that the fullest rank gets over the mean of the ranks; 1: tokens spread evenly")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 1024.0));
  command->add_flag("--json", arguments->json, "Print JSON: an object, or a list for several configs");
  command->callback([arguments] { describe(*arguments); });
}

}  // namespace artel
