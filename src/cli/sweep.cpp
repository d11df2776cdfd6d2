#include <CLI/CLI.hpp>
#include <memory>

#include "cli/child_process.h"
#include "cli/commands.h"
#include "cli/comparison_output.h"
#include "cli/option_checks.h"
#include "cli/run_directory.h"
#include "cli/sweep_plan.h"
#include "config/yaml.h"
#include "report/format.h"
#include "report/run_reader.h"
#include "util/error.h"
#include "util/file_lock.h"
#include "util/log.h"
#include "util/text.h"

namespace artel {
namespace {

struct SweepArguments {
  std::vector<std::string> configs;
  std::string seeds;
  std::vector<std::string> overrides;
  ComparisonOutput output;
  std::string command_line;
};

// How one run of the sweep came out.
enum class Outcome { skipped, finished, stopped, failed };

class Sweep {
 public:
  Sweep(std::vector<SweepRun> runs, FileLayer& files, Log& log) : runs_(std::move(runs)), files_(files), log_(log) {
    for (const SweepRun& run : runs_) examine_run(files_, run);  // a directory of another config is found before work
  }

  /// Runs what is not finished. False: a signal stopped it.
  bool run() {
    ChildRunner children;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      const std::string place = concat("sweep ", i + 1, "/", runs_.size(), "  ", runs_[i].config.run.name, ": ");
      const Outcome outcome = children.stop_requested() ? Outcome::stopped : run_one(runs_[i], place, children);
      if (outcome == Outcome::stopped) return false;
      (outcome == Outcome::failed ? failed_ : done_).push_back(&runs_[i]);
    }
    return true;
  }

  std::vector<std::string> finished_directories() const {
    std::vector<std::string> directories;
    for (const SweepRun* run : done_) directories.push_back(run->directory);
    return directories;
  }
  std::vector<std::string> failed_names() const {
    std::vector<std::string> names;
    for (const SweepRun* run : failed_) names.push_back(run->config.run.name);
    return names;
  }

 private:
  Outcome run_one(const SweepRun& run, const std::string& place, ChildRunner& children) {
    try {
      if (examine_run(files_, run) == RunState::finished) return report(run, place, Outcome::skipped);
      make_run_directory(files_, run.config);
      const std::optional<FileLock> lock = wait_for_lock(run, place, children);
      if (!lock) return Outcome::stopped;
      const RunState state = examine_run(files_, run);  // another sweep may have been at work
      if (state == RunState::finished) return report(run, place, Outcome::skipped);
      log_.info(concat(place, "training to step ", run.config.train.steps));
      // The child reads what was checked, not a file that may have been edited since.
      const std::string config_path = join_path(run.directory, "config.yaml");
      write_file_atomic(files_, config_path, dump_config(run.config));
      const ChildOutcome child = children.run({"train", "-c", config_path}, lock->descriptor());
      if (children.stop_requested()) return Outcome::stopped;
      if (!child.succeeded()) fail("sweep", concat("training ended with ", child.describe()));
      if (examine_run(files_, run) != RunState::finished) {
        fail("sweep", "required checkpoint and metrics of the last step, found training at its end without them");
      }
      return report(run, place, Outcome::finished);
    } catch (const Error& error) {  // the other runs go on
      log_.error(concat(place, "failed: ", error.what()));
      return Outcome::failed;
    }
  }

  // None: a signal asked to stop meanwhile.
  std::optional<FileLock> wait_for_lock(const SweepRun& run, const std::string& place, ChildRunner& children) {
    constexpr int milliseconds = 200;
    const std::string path = join_path(run.directory, "sweep.lock");
    std::optional<FileLock> lock = FileLock::try_acquire(path);
    if (!lock) log_.info(concat(place, "another process of a sweep trains it; waiting for its end"));
    while (!lock) {
      if (children.stop_requested(milliseconds)) return std::nullopt;
      lock = FileLock::try_acquire(path);
    }
    return lock;
  }

  Outcome report(const SweepRun& run, const std::string& place, Outcome outcome) {
    const Run result = read_run(run.directory);
    std::string text = concat(place, outcome == Outcome::skipped ? "skipped, finished before" : "finished", ", step ",
                              result.last_step());
    if (!result.validation.empty())
      text += concat(", validation loss ", format_loss(result.validation.back().val_loss));
    log_.info(concat(text, ", ", format_duration(result.last_seconds())));
    return outcome;
  }

  std::vector<SweepRun> runs_;
  FileLayer& files_;
  Log& log_;
  std::vector<const SweepRun*> done_;
  std::vector<const SweepRun*> failed_;
};

void sweep(const SweepArguments& arguments) {
  PosixFileLayer files;
  Log log;
  if (!arguments.output.page.empty()) require_output("--output", arguments.output.page);
  if (arguments.output.margin && !(*arguments.output.margin > 0.0)) {
    fail("sweep", concat("--margin required a number of nats above 0, found ", *arguments.output.margin));
  }
  Sweep sweep(plan_sweep(arguments.configs, parse_seeds(arguments.seeds), arguments.overrides), files, log);
  if (!sweep.run()) {
    log.info(concat("sweep stopped; to go on: ", arguments.command_line));
    return;
  }
  const std::vector<std::string> finished = sweep.finished_directories();
  const std::vector<std::string> failed = sweep.failed_names();
  if (!finished.empty()) show_comparison(finished, arguments.output);
  if (!failed.empty()) {
    fail("sweep", concat(failed.size(), " of ", failed.size() + finished.size(), " runs failed: ", join(failed, ", "),
                         "; mend what the lines above say, then go on: ", arguments.command_line));
  }
}

}  // namespace

void add_sweep_command(CLI::App& app, std::string command_line) {
  auto arguments = std::make_shared<SweepArguments>();
  arguments->command_line = std::move(command_line);
  CLI::App* command = app.add_subcommand(
      "sweep",
      "Train every config with every seed, one run after the other, and compare them. A run is called "
      "<run.name>-seed<k>; the same seed means the same order of the data and the same initial weights in every "
      "config, "
      "so that seeds pair. Runs that are finished are skipped and others resume, so a sweep that was stopped or killed "
      "goes on with the same command. A run that fails is reported and the others go on; the exit code is then 1.");
  command->add_option("-c,--config", arguments->configs, "YAML file (may be given again)")
      ->required()
      ->allow_extra_args(false)
      ->check(not_empty());
  command->add_option("--seeds", arguments->seeds, "Seeds: 1..5, or 1,2,7 (at most 1000)")->required();
  command
      ->add_option("--set", arguments->overrides,
                   "Override a key in every config: --set train.steps=300 (may be given "
                   "again)")
      ->allow_extra_args(false);
  add_comparison_options(*command, arguments->output);
  command->callback([arguments] { sweep(*arguments); });
}

}  // namespace artel
