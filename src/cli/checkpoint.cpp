#include <CLI/CLI.hpp>
#include <memory>

#include "cli/checkpoint_path.h"
#include "cli/commands.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

void info(const std::string& path) {
  PosixFileLayer files;
  const Checkpoint checkpoint = open_checkpoint(files, path);
  double parameters = 0.0;
  double bytes = 0.0;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const auto numel = static_cast<double>(tensor.shape.numel());
    bytes += numel * static_cast<double>(dtype_size(tensor.dtype));
    if (name.rfind("optimizer.", 0) != 0 && name.rfind("router_state.", 0) != 0) parameters += numel;
  }
  const Json& manifest = checkpoint.manifest();
  print(concat(checkpoint.path(), "\n  step        ", checkpoint.step(), "\n  tokens      ", checkpoint.tokens(),
               "\n  run         ", manifest.value("/config/run/name"_json_pointer, std::string("?")),
               "\n  routing     ", manifest.value("/config/model/routing/type"_json_pointer, std::string("?")),
               "\n  precision   ", manifest.value("/config/train/precision"_json_pointer, std::string("?")),
               "\n  ranks       ", manifest.value("/world/size"_json_pointer, 0), "\n  parameters  ",
               static_cast<std::int64_t>(parameters), "\n  tensors     ", checkpoint.tensors().size(), ", ",
               format_bytes(bytes), "\n"));
}

void verify(const std::string& path) {
  PosixFileLayer files;
  std::string first_error;
  for (const std::string& found : checkpoint_paths(files, path)) {
    try {
      Checkpoint(files, found).verify();
      print(concat(found, ": every tensor covered, every checksum right\n"));
    } catch (const Error& error) {
      print(concat(found, ": DAMAGED: ", error.what(), "\n"));
      if (first_error.empty()) first_error = error.what();
    }
  }
  if (!first_error.empty())
    fail("checkpoint", "required checkpoints that verify, found damage; the lines above name it");
}

}  // namespace

void add_checkpoint_command(CLI::App& app) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("checkpoint", "Look at checkpoints");
  command->require_subcommand(1);
  CLI::App* info_command = command->add_subcommand("info", "Print what a checkpoint holds");
  info_command->add_option("directory", *path, "A checkpoint, or a run directory for its newest one")->required();
  info_command->callback([path] { info(*path); });
  CLI::App* verify_command = command->add_subcommand("verify", "Check coverage and every checksum");
  verify_command->add_option("directory", *path, "A checkpoint, or a run directory for all of them")->required();
  verify_command->callback([path] { verify(*path); });
}

}  // namespace artel
