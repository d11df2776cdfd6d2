#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "checkpoint/diff.h"
#include "cli/checkpoint_path.h"
#include "cli/commands.h"
#include "cli/option_checks.h"
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

// Exit code of `diff` when the checkpoints differ; an error is 1 as everywhere.
constexpr int exit_different = 2;
// What a person reads; --json has all of it.
constexpr std::size_t most_lines = 20;

std::string scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3e", value);
  return text;
}

// A heading and at most `most_lines` of the lines below it.
std::string listing(const std::string& heading, const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string out = concat(heading, " (", lines.size(), "):\n");
  for (std::size_t i = 0; i < std::min(lines.size(), most_lines); ++i) out += concat("  ", lines[i], "\n");
  if (lines.size() > most_lines) out += concat("  … and ", lines.size() - most_lines, " more; --json lists all\n");
  return out;
}

std::vector<std::string> value_lines(std::vector<TensorDifference> tensors) {
  std::erase_if(tensors, [](const TensorDifference& t) { return t.num_different == 0; });
  // Not a number counts as the largest.
  const auto rank = [](const TensorDifference& t) { return std::isnan(t.relative_l2) ? HUGE_VAL : t.relative_l2; };
  std::stable_sort(tensors.begin(), tensors.end(),
                   [&](const TensorDifference& x, const TensorDifference& y) { return rank(x) > rank(y); });
  std::vector<std::string> lines;
  for (const TensorDifference& t : tensors) {
    lines.push_back(concat(t.name, ": relative L2 ", scientific(t.relative_l2), ", max |a - b| ", scientific(t.max_abs),
                           ", ", t.num_different, " of ", t.num_elements, " elements"));
  }
  return lines;
}

std::string difference_text(const CheckpointDifference& difference) {
  std::vector<std::string> mismatches;
  for (const TensorMismatch& m : difference.mismatches) mismatches.push_back(concat(m.name, ": ", m.a, " / ", m.b));
  std::vector<std::string> keys;
  for (const ConfigDifference& c : difference.config) {
    keys.push_back(concat(c.key, ": ", c.a.empty() ? "absent" : c.a, " / ", c.b.empty() ? "absent" : c.b));
  }
  return listing("only in the first", difference.only_in_a) + listing("only in the second", difference.only_in_b) +
         listing("shape or type differs", mismatches) + listing("values differ", value_lines(difference.tensors)) +
         listing("config differs", keys) + difference_summary(difference) + "\n";
}

void diff(const std::string& path_a, const std::string& path_b, bool json) {
  PosixFileLayer files;
  const Checkpoint a = open_checkpoint(files, path_a);
  const Checkpoint b = open_checkpoint(files, path_b);
  const CheckpointDifference difference = compare_checkpoints(a, b);
  print(json ? dump_json(difference_json(difference), 2) + "\n" : difference_text(difference));
  if (!difference.equal()) throw CLI::RuntimeError(exit_different);
}

void add_diff_command(CLI::App& command) {
  struct Arguments {
    std::string a;
    std::string b;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* diff_command = command.add_subcommand(
      "diff",
      "Compare two checkpoints: tensors, values, config. Exit code 0: equal (run.name and run.directory apart); "
      "2: they differ; 1: an error");
  diff_command->add_option("first", arguments->a, "A checkpoint, or a run directory for its newest one")
      ->required()
      ->check(not_empty());
  diff_command->add_option("second", arguments->b, "The other one")->required()->check(not_empty());
  diff_command->add_flag("--json", arguments->json, "JSON on standard output");
  diff_command->callback([arguments] { diff(arguments->a, arguments->b, arguments->json); });
}

}  // namespace

void add_checkpoint_command(CLI::App& app) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("checkpoint", "Look at checkpoints");
  command->require_subcommand(1);
  CLI::App* info_command = command->add_subcommand("info", "Print what a checkpoint holds");
  info_command->add_option("directory", *path, "A checkpoint, or a run directory for its newest one")
      ->required()
      ->check(not_empty());
  info_command->callback([path] { info(*path); });
  CLI::App* verify_command = command->add_subcommand("verify", "Check coverage and every checksum");
  verify_command->add_option("directory", *path, "A checkpoint, or a run directory for all of them")
      ->required()
      ->check(not_empty());
  verify_command->callback([path] { verify(*path); });
  add_diff_command(*command);
}

}  // namespace artel
