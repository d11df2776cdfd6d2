#include "cli/child_process.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// The file of the running program, even after another one was built in its place.
constexpr const char* kThisProgram = "/proc/self/exe";
constexpr int kCannotStart = 127;

// Between fork and exec: nothing but system calls.
[[noreturn]] void become_child(char* const* arguments, int descriptor, pid_t parent) {
  sigset_t none;
  sigemptyset(&none);
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(kCannotStart);  // the parent was gone before it could be watched
  if (descriptor >= 0) ::fcntl(descriptor, F_SETFD, 0);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(kThisProgram, arguments);
  ::_exit(kCannotStart);
}

ChildOutcome outcome_of(int status) {
  if (WIFEXITED(status)) return {WEXITSTATUS(status), 0};
  return {-1, WTERMSIG(status)};
}

}  // namespace

std::string ChildOutcome::describe() const {
  if (exit_code >= 0) return concat("exit code ", exit_code);
  return concat("signal ", signal, " (", ::strsignal(signal), ")");
}

ChildRunner::ChildRunner() {
  ::signal(SIGCHLD, SIG_DFL);  // a parent that ignores it would make children vanish unseen
  sigemptyset(&watched_);
  for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&watched_, signal);
  ::pthread_sigmask(SIG_BLOCK, &watched_, &previous_);
}

ChildRunner::~ChildRunner() {
  ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

ChildOutcome ChildRunner::run(const std::vector<std::string>& arguments, int descriptor) {
  std::vector<std::string> words = {"artel"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) fail("sweep", concat("cannot start a process: ", std::strerror(errno)));
  if (child == 0) become_child(pointers.data(), descriptor, parent);
  ::setpgid(child, child);  // here too, so that it holds before any signal is handed on
  while (true) {
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return outcome_of(status);
    if (ended < 0 && errno != EINTR) fail("sweep", concat("lost a process: ", std::strerror(errno)));
    int signal = 0;
    if (::sigwait(&watched_, &signal) != 0 || signal == SIGCHLD) continue;
    stop_ = true;
    ::kill(child, signal);
  }
}

bool ChildRunner::stop_requested(int milliseconds) {
  const timespec wait{milliseconds / 1000, milliseconds % 1000 * 1'000'000L};
  const int signal = ::sigtimedwait(&watched_, nullptr, &wait);
  if (signal == SIGINT || signal == SIGTERM) stop_ = true;
  return stop_;
}

}  // namespace artel
