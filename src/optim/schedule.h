#pragma once

#include <cstdint>

#include "config/schema.h"

namespace artel {

/// Learning rate of a step (1 for the first) out of num_steps. Warm-up rises linearly from lr/warmup_steps to lr; then
///   cosine    lr falls along half a cosine to min_lr_ratio · lr at the last step
///   linear    … along a line
///   wsd       stays at lr and falls along a line over the last decay_ratio of the steps (Hu et al., arXiv 2404.06395)
///   constant  stays
/// Errors: an unknown type.
double learning_rate(const ScheduleConfig& schedule, double lr, std::int64_t step, std::int64_t num_steps);

}  // namespace artel
