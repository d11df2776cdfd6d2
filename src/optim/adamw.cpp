#include "optim/adamw.h"

#include <algorithm>
#include <cmath>

namespace artel {

AdamW::AdamW(Context& context, ParameterStore& store, const OptimizerConfig& config) : store_(store), config_(config) {
  const Shape arena{store.num_elements()};
  exp_avg_ = context.empty(arena, DType::f32);
  exp_avg_sq_ = context.empty(arena, DType::f32);
  context.backend.fill(exp_avg_, 0.0F);
  context.backend.fill(exp_avg_sq_, 0.0F);
  sum_of_squares_ = context.empty({1}, DType::f64);
  grad_scale_ = context.empty({1}, DType::f32);

  for (const Parameter& parameter : store.parameters()) {
    ranges_.push_back({parameter.arena_offset, parameter.arena_offset + parameter.numel(), parameter.weight_decay});
  }
  std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::vector<Range> merged;
  for (const Range& range : ranges_) {
    // The gap between two parameters holds zeros, and an update keeps them zero.
    if (!merged.empty() && merged.back().weight_decay == range.weight_decay) {
      merged.back().end = range.end;
    } else {
      merged.push_back(range);
    }
  }
  ranges_ = std::move(merged);
}

StepResult AdamW::step(Context& context, double lr, std::int64_t step) {
  StepResult result;
  double sum = 0.0;
  context.backend.sum_of_squares(store_.gradients(), sum_of_squares_);
  context.backend.download(sum_of_squares_, &sum);
  result.grad_norm = std::sqrt(sum);
  if (!std::isfinite(result.grad_norm)) return result;
  const bool clip = config_.grad_clip > 0.0 && result.grad_norm > config_.grad_clip;
  const float scale = clip ? static_cast<float>(config_.grad_clip / result.grad_norm) : 1.0F;
  context.backend.upload(&scale, grad_scale_);

  AdamWOptions options;
  options.lr = static_cast<float>(lr);
  options.beta1 = static_cast<float>(config_.betas[0]);
  options.beta2 = static_cast<float>(config_.betas[1]);
  options.eps = static_cast<float>(config_.eps);
  options.step = step;
  const bool has_masters = store_.dtype() != DType::f32;
  for (const Range& range : ranges_) {
    options.weight_decay = range.weight_decay ? static_cast<float>(config_.weight_decay) : 0.0F;
    const auto part = [&range](const Tensor& arena) { return arena.rows(range.begin, range.end); };
    context.backend.adamw(part(store_.gradients()), grad_scale_, options, part(store_.masters()), part(exp_avg_),
                          part(exp_avg_sq_), has_masters ? part(store_.values()) : Tensor{});
  }
  result.applied = true;
  return result;
}

}  // namespace artel
