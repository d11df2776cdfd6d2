#pragma once

#include <signal.h>

#include <string>
#include <vector>

namespace artel {

/// How a program ended.
struct ChildOutcome {
  int exit_code = -1;  ///< -1: ended by a signal
  int signal = 0;

  bool succeeded() const { return exit_code == 0; }
  /// "exit code 1", "signal 9 (Killed)"
  std::string describe() const;
};

/// Runs this program again as child processes, one after the other. While the object lives, SIGINT and SIGTERM do not
/// end this process: they are handed on to the child and remembered. A child stands in a process group of its own, so
/// that a key pressed at the terminal reaches it once, through here; when this process dies by a signal that it cannot
/// catch, the child gets SIGTERM. Build it before any other thread.
class ChildRunner {
 public:
  ChildRunner();
  ~ChildRunner();
  ChildRunner(const ChildRunner&) = delete;
  ChildRunner& operator=(const ChildRunner&) = delete;

  /// Runs this program with these arguments (the program's name not among them) and waits for its end. What it writes
  /// to standard output goes to standard error. It inherits `descriptor`. Errors: no process can be started.
  ChildOutcome run(const std::vector<std::string>& arguments, int descriptor);

  /// Whether a signal has asked to stop. Waits up to `milliseconds` for one.
  bool stop_requested(int milliseconds = 0);

 private:
  sigset_t watched_;   ///< SIGINT, SIGTERM, SIGCHLD
  sigset_t previous_;  ///< mask to go back to
  bool stop_ = false;
};

}  // namespace artel
