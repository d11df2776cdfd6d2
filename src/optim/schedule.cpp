#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "util/error.h"

namespace artel {

double learning_rate(const ScheduleConfig& schedule, double lr, std::int64_t step, std::int64_t num_steps) {
  if (step <= schedule.warmup_steps) return lr * static_cast<double>(step) / static_cast<double>(schedule.warmup_steps);
  const double min_lr = lr * schedule.min_lr_ratio;
  const auto since = [step](double begin, double end) {
    return std::clamp((static_cast<double>(step) - begin) / std::max(1.0, end - begin), 0.0, 1.0);
  };
  const auto warmup = static_cast<double>(schedule.warmup_steps);
  const auto last = static_cast<double>(num_steps);
  if (schedule.type == "cosine") {
    return min_lr + (lr - min_lr) * 0.5 * (1.0 + std::cos(std::numbers::pi * since(warmup, last)));
  }
  if (schedule.type == "linear") return lr + (min_lr - lr) * since(warmup, last);
  if (schedule.type == "wsd")
    return lr + (min_lr - lr) * since(std::max(warmup, last * (1.0 - schedule.decay_ratio)), last);
  if (schedule.type == "constant") return lr;
  fail("schedule.type", "required cosine, linear, wsd or constant, found " + schedule.type);
}

}  // namespace artel
