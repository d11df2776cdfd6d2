#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "cli/commands.h"
#include "cli/option_checks.h"
#include "cli/run_directory.h"
#include "comm/launch.h"
#include "config/yaml.h"
#include "train/runtime.h"
#include "train/stop_signal.h"
#include "train/trainer.h"
#include "util/error.h"
#include "util/file_lock.h"
#include "util/files.h"
#include "util/text.h"

namespace artel {
namespace {

// After a signal, for the step that the other ranks are in.
constexpr double seconds_to_give_up = 10.0;

struct TrainArguments {
  std::string config;
  std::vector<std::string> overrides;
  TrainOptions options;
};

Log open_log(const std::string& run_directory, int rank) {
  if (rank == 0) return Log(join_path(run_directory, "log.txt"));
  return Log(join_path(run_directory, concat("log-rank", rank, ".txt")), Screen::none);
}

// Two jobs that write to one run directory would spoil it for both. What a killed job left behind ends within seconds.
FileLock lock_run(const std::string& run_directory) {
  constexpr int num_tries = 50;
  for (int i = 0; i < num_tries; ++i) {
    if (std::optional<FileLock> lock = FileLock::try_acquire(join_path(run_directory, "train.lock"))) {
      return std::move(*lock);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  fail("run", concat("required a run directory that no other process trains in, found ", run_directory,
                     " locked; wait for the end of that run, or choose another run.name"));
}

// `launcher`: Launch::launcher; empty for a process started by hand.
void train_as_rank(const Config& config, const TrainArguments& arguments, const StopSignal& stop, FileLayer& files,
                   Log& log, Communicator& world, const std::string& launcher) {
  const std::string run_directory = join_path(config.run.directory, config.run.name);
  const std::optional<FileLock> lock =
      world.rank() == 0 ? std::optional<FileLock>(lock_run(run_directory)) : std::nullopt;
  Runtime runtime(config.train, log, world);
  Trainer trainer(config, runtime, files, log, arguments.options);
  log.info(concat("training ", config.run.name, " on ", runtime.device_text(), ", ", runtime.precision(), ", ",
                  world.size() > 1 ? concat(world.size(), " ranks of ") : "", runtime.num_threads(),
                  " threads, to step ", config.train.steps, " in ", run_directory));
  if (trainer.run([&stop] { return stop.requested(); })) {
    log.info(concat("finished: ", run_directory));
  } else {
    const std::string command = launcher == "Slurm" ? "srun -n " : "mpirun -n ";
    log.info(concat("stopped after step ", trainer.step(), "; to go on: ",
                    world.size() > 1 ? concat(command, world.size(), " ") : "", arguments.options.resume_command));
  }
}

// A launcher sends SIGTERM when somebody wants the run to end, and when one of its ranks has died. In the first case
// the ranks agree on it at the end of the step; in the second one the wait does not end, which this notes at once,
// while there is time, and gives up on soon after.
void watch_waits(Communicator& world, const StopSignal& stop, Log& log) {
  auto signalled_at = std::make_shared<double>(-1.0);
  world.set_wait_observer([&stop, &log, signalled_at](double seconds, const std::string& what) {
    if (!stop.requested()) {
      *signalled_at = -1.0;
    } else if (*signalled_at < 0.0 || seconds < *signalled_at) {
      *signalled_at = seconds;
      log.warn(concat("asked to stop while waiting: ", what));
    } else if (seconds - *signalled_at > seconds_to_give_up) {
      fail("stop", concat("required the other ranks to reach the end of the step within ", seconds_to_give_up,
                          " s of the signal, found ", what, "; resume from the last checkpoint"));
    }
  });
}

// Under a launcher: one rank of many. An error on any rank ends them all, since the others would wait for it.
void train_under(const Launch& launch, const Config& config, const TrainArguments& arguments, const StopSignal& stop,
                 FileLayer& files, const std::string& run_directory) {
  MpiOptions options;
  options.timeout_seconds = config.parallel.timeout_seconds;
  const std::unique_ptr<MpiSession> session = start_mpi(options, launch);
  const int rank = session->world().rank();
  try {
    Log log = open_log(run_directory, rank);
    try {
      watch_waits(session->world(), stop, log);
      train_as_rank(config, arguments, stop, files, log, session->world(), launch.launcher);
    } catch (const std::exception& error) {
      log.error(error.what());
      throw;
    }
  } catch (const std::exception& error) {
    report_error(session->world().size() > 1 ? concat("rank ", rank, ": ", error.what()) : error.what());
    session->abort(1);
  }
}

void train(const TrainArguments& arguments) {
  const Config config = load_config(arguments.config, arguments.overrides, {.data_must_exist = true});
  const StopSignal stop;  // before any other thread
  check_device(config);
  PosixFileLayer files;
  const std::string run_directory = make_run_directory(files, config);
  if (const std::optional<Launch> launch = detect_launch()) {
    train_under(*launch, config, arguments, stop, files, run_directory);
  } else {
    Log log = open_log(run_directory, 0);
    const std::unique_ptr<Communicator> world = make_self_communicator();
    train_as_rank(config, arguments, stop, files, log, *world, "");
  }
}

}  // namespace

void add_train_command(CLI::App& app, std::string command_line) {
  auto arguments = std::make_shared<TrainArguments>();
  arguments->options.resume_command = std::move(command_line);
  CLI::App* command = app.add_subcommand("train", "Train a model; goes on from its newest checkpoint if there is one");
  command->add_option("-c,--config", arguments->config, "YAML file (docs/config.md)")->required()->check(not_empty());
  command->add_option("--set", arguments->overrides, "Override a key: --set optimizer.lr=3e-4 (may be given again)")
      ->allow_extra_args(false);
  command
      ->add_option(
          "--resume", arguments->options.resume,
          "auto: from the newest checkpoint that verifies, else from the start; never: only into an unused run "
          "directory; or the path of a checkpoint or run directory")
      ->capture_default_str()
      ->check(not_empty("auto, never or the path of a checkpoint"));
  command
      ->add_option(
          "--allow-change", arguments->options.allow_changes,
          "A key of optimizer, schedule or data that may differ from the checkpoint's config (may be given again)")
      ->allow_extra_args(false);
  command
      ->add_option("--profile", arguments->options.profile_steps,
                   "Write the times of so many steps, after 2 to warm up, to RUN/trace-STEP.json (open it in "
                   "ui.perfetto.dev or chrome://tracing)")
      ->check(integer_from(1));
  command->callback([arguments] { train(*arguments); });
}

}  // namespace artel
