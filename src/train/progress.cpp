#include "train/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "util/text.h"

namespace artel {
namespace {

constexpr double seconds_between_redraws = 0.1;
constexpr double seconds_between_lines = 10.0;
constexpr int bar_width = 24;

}  // namespace

Progress::Progress(std::int64_t first_step, std::int64_t num_steps, bool shown)
    : num_steps_(num_steps), first_step_(first_step), shown_(shown), terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::update(std::int64_t step, double loss, double tokens_per_second) {
  if (!shown_) return;
  const auto now = Clock::now();
  const double since = std::chrono::duration<double>(now - last_shown_).count();
  const bool last = step >= num_steps_;
  if (!last && since < (terminal_ ? seconds_between_redraws : seconds_between_lines)) return;
  last_shown_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const auto done = static_cast<double>(step - first_step_);
  const double left = done > 0 ? elapsed / done * static_cast<double>(num_steps_ - step) : 0.0;
  std::string text = concat("step ", step, "/", num_steps_, "  loss ", format_fixed(loss, 4), "  ",
                            format_count(tokens_per_second), " tokens/s  ", format_duration(left), " left");
  if (terminal_) {
    const auto filled = static_cast<std::size_t>(bar_width * step / std::max<std::int64_t>(1, num_steps_));
    text = concat("\r\033[K[", std::string(filled, '='), std::string(bar_width - filled, ' '), "] ", text);
  }
  std::fputs(text.c_str(), stderr);
  if (terminal_ && !last) {
    std::fflush(stderr);
    line_open_ = true;
  } else {
    std::fputc('\n', stderr);
    line_open_ = false;
  }
}

void Progress::finish_line() {
  if (line_open_) std::fputc('\n', stderr);
  line_open_ = false;
}

}  // namespace artel
