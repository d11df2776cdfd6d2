#pragma once

#include <functional>
#include <string>
#include <thread>

namespace artel {

/// Watches a call that waits for other ranks and cannot be polled, such as the start of MPI. One that takes longer than
/// it may is given up by ending the process: nothing else gets out of it, and the launcher then ends the other ranks.
class BlockingCall {
 public:
  /// `call`: its name, for the message. `late` is told the message after `seconds`, on another thread; by default it
  /// writes it to stderr and ends the process with exit code 1.
  BlockingCall(std::string call, double seconds, std::function<void(const std::string&)> late = end_process);
  BlockingCall(const BlockingCall&) = delete;
  BlockingCall& operator=(const BlockingCall&) = delete;
  /// The call has ended.
  ~BlockingCall() = default;

  [[noreturn]] static void end_process(const std::string& message);

 private:
  std::jthread watch_;
};

}  // namespace artel
