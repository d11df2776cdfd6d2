#include "train/stop_signal.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

namespace artel {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGUSR1);
  return set;
}

}  // namespace

StopSignal::StopSignal() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this] { wait_for_signals(); });
}

StopSignal::~StopSignal() {
  ending_.store(true);
  thread_.join();
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void StopSignal::wait_for_signals() {
  const sigset_t set = stop_signals();
  const timespec interval{0, 100'000'000};
  while (!ending_.load()) {
    const int signal = sigtimedwait(&set, nullptr, &interval);
    if (signal < 0) continue;
    if (requested_.exchange(true)) {
      if (signal == SIGUSR1) continue;
      _exit(130);
    }
    static constexpr char notice[] = "\nstopping after this step; once more to stop at once\n";
    (void)!write(STDERR_FILENO, notice, sizeof notice - 1);
  }
}

}  // namespace artel
