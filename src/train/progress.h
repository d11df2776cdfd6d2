#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace artel {

/// Progress on standard error: one line that is redrawn on a terminal, plain lines every few seconds elsewhere.
class Progress {
 public:
  /// `shown` false: says nothing (all ranks but one).
  Progress(std::int64_t first_step, std::int64_t num_steps, bool shown = true);

  void update(std::int64_t step, double loss, double tokens_per_second);
  /// Ends the redrawn line, so that other messages start on a line of their own.
  void finish_line();

 private:
  using Clock = std::chrono::steady_clock;

  std::int64_t num_steps_;
  std::int64_t first_step_;
  bool shown_;
  bool terminal_;
  bool line_open_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_shown_{};
};

}  // namespace artel
