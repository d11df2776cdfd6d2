#pragma once

#include <atomic>
#include <thread>

namespace artel {

/// Turns SIGINT and SIGTERM into a request that the training loop reads between steps. Build it before any other
/// thread: the signals are blocked in this thread and in those that it starts, and a thread of its own waits for them.
/// A second signal ends the process at once with exit code 130. SIGUSR1, which launchers pass on to their ranks without
/// ending them, asks too, and never ends at once.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool requested() const { return requested_.load(); }

 private:
  void wait_for_signals();

  std::atomic<bool> requested_{false};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace artel
