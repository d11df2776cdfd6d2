#include "optim/adamw.h"

#include <algorithm>
#include <cmath>

namespace artel {

AdamW::AdamW(Context& context, ParameterStore& store, const OptimizerConfig& config)
    : AdamW(context, store, config, store.owned()) {}

AdamW::AdamW(Context& context, ParameterStore& store, const OptimizerConfig& config, ArenaRanges counted)
    : store_(store), config_(config), counted_(std::move(counted)) {
  const Shape owned{store.owned().num_elements()};
  exp_avg_ = context.empty(owned, DType::f32);
  exp_avg_sq_ = context.empty(owned, DType::f32);
  context.backend.fill(exp_avg_, 0.0F);
  context.backend.fill(exp_avg_sq_, 0.0F);
  sums_of_squares_ = context.empty({static_cast<std::int64_t>(counted_.ranges().size())}, DType::f64);
  figures_ = context.empty({2}, DType::f64);
  scale_ = context.empty({1}, DType::f32);

  std::vector<Range> decays;
  for (const Parameter& parameter : store.parameters()) {
    decays.push_back({parameter.arena_offset, parameter.arena_offset + parameter.numel(), parameter.weight_decay});
  }
  std::sort(decays.begin(), decays.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::vector<Range> merged;
  for (const Range& range : decays) {
    // The gap between two parameters holds zeros, and an update keeps them zero.
    if (!merged.empty() && merged.back().weight_decay == range.weight_decay) {
      merged.back().end = range.end;
    } else {
      merged.push_back(range);
    }
  }
  for (const ArenaRange& own : store.owned().ranges()) {
    for (const Range& range : merged) {
      const Range part{std::max(own.begin, range.begin), std::min(own.end, range.end), range.weight_decay};
      if (part.begin < part.end) ranges_.push_back(part);
    }
  }
}

void AdamW::measure(Context& context) {
  const std::vector<ArenaRange>& runs = counted_.ranges();
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    context.backend.sum_of_squares(store_.gradients().rows(runs[i].begin, runs[i].end),
                                   sums_of_squares_.rows(row, row + 1));
  }
  context.backend.fill(figures_, 0.0F);
  context.backend.add_up(sums_of_squares_, figures_.rows(0, 1));
}

void AdamW::decide(Context& context) {
  context.backend.gradient_scale(figures_, config_.grad_clip, scale_);
}

void AdamW::update(Context& context, double lr, std::int64_t step) {
  AdamWOptions options;
  options.lr = static_cast<float>(lr);
  options.beta1 = static_cast<float>(config_.betas[0]);
  options.beta2 = static_cast<float>(config_.betas[1]);
  options.eps = static_cast<float>(config_.eps);
  options.step = step;
  const ArenaRanges& owned = store_.owned();
  for (const Range& range : ranges_) {
    options.weight_decay = range.weight_decay ? static_cast<float>(config_.weight_decay) : 0.0F;
    context.backend.adamw(store_.gradients().rows(range.begin, range.end), scale_, options,
                          store_.master_rows(range.begin, range.end), owned.rows(exp_avg_, range.begin, range.end),
                          owned.rows(exp_avg_sq_, range.begin, range.end),
                          store_.has_masters() ? store_.values().rows(range.begin, range.end) : Tensor{});
  }
}

StepResult AdamW::step(Context& context, double lr, std::int64_t step) {
  measure(context);
  decide(context);
  update(context, lr, step);
  double figures[2] = {};
  float scale = 0.0F;
  context.backend.download(figures_, figures);
  context.backend.download(scale_, &scale);
  return {std::sqrt(figures[0]), !std::isnan(scale)};
}

}  // namespace artel
