#include "inspect/choice_counter.h"

#include <algorithm>
#include <cmath>

#include "kernels/backend.h"
#include "report/stats.h"
#include "train/metrics.h"
#include "util/error.h"

namespace artel {
namespace {

std::vector<std::int64_t> whole_numbers(const std::vector<double>& values) {
  std::vector<std::int64_t> numbers;
  for (const double value : values) numbers.push_back(static_cast<std::int64_t>(value));
  return numbers;
}

}  // namespace

HostChoices download_choices(Context& context, const Routing& routing) {
  HostChoices choices;
  choices.ids.resize(static_cast<std::size_t>(routing.expert_ids.numel()));
  choices.weights.resize(choices.ids.size());
  choices.token_offsets.resize(static_cast<std::size_t>(routing.token_offsets.numel()));
  context.backend.download(routing.expert_ids, choices.ids.data());
  context.backend.download(routing.weights.data, choices.weights.data());
  context.backend.download(routing.token_offsets, choices.token_offsets.data());
  return choices;
}

ChoiceCounter::ChoiceCounter(std::int64_t num_experts)
    : num_experts_(static_cast<std::size_t>(num_experts)),
      coactivation_(num_experts_, std::vector<double>(num_experts_, 0.0)),
      other_load_(num_experts_, 0.0) {}

void ChoiceCounter::begin_set() {
  load_by_set_.emplace_back(num_experts_, 0.0);
}

void ChoiceCounter::add(const HostChoices& choices) {
  std::vector<double>& load = load_by_set_.back();
  for (std::int64_t token = 0; token < choices.num_tokens(); ++token) {
    const auto t = static_cast<std::size_t>(token);
    const auto first = static_cast<std::size_t>(choices.token_offsets[t]);
    const auto end = static_cast<std::size_t>(choices.token_offsets[t + 1]);
    for (std::size_t a = first; a < end; ++a) {
      const auto expert = static_cast<std::size_t>(choices.ids[a]);
      load[expert] += 1.0;
      coactivation_[expert][expert] += 1.0;
      for (std::size_t b = first; b < a; ++b) {
        const auto other = static_cast<std::size_t>(choices.ids[b]);
        coactivation_[expert][other] += 1.0;
        coactivation_[other][expert] += 1.0;
      }
    }
  }
}

void ChoiceCounter::add_statistics(double entropy, double margin, std::int64_t num_tokens) {
  entropy_ += entropy;
  margin_ += margin;
  num_tokens_ += static_cast<double>(num_tokens);
}

void ChoiceCounter::compare(const HostChoices& choices, const HostChoices& other) {
  if (choices.num_tokens() != other.num_tokens()) {
    fail("inspect", "required choices of the same tokens, found " + std::to_string(choices.num_tokens()) + " and " +
                        std::to_string(other.num_tokens()));
  }
  for (std::size_t t = 0; t + 1 < choices.token_offsets.size(); ++t) {
    const auto other_begin = other.ids.begin() + other.token_offsets[t];
    const auto other_end = other.ids.begin() + other.token_offsets[t + 1];
    for (std::int32_t slot = choices.token_offsets[t]; slot < choices.token_offsets[t + 1]; ++slot) {
      const std::int32_t expert = choices.ids[static_cast<std::size_t>(slot)];
      if (std::find(other_begin, other_end, expert) != other_end) num_kept_ += 1.0;
    }
  }
  for (const std::int32_t expert : other.ids) other_load_[static_cast<std::size_t>(expert)] += 1.0;
  num_compared_ += static_cast<double>(choices.ids.size());
  num_tokens_compared_ += static_cast<double>(choices.num_tokens());
}

void ChoiceCounter::finish(LayerInspection& layer) const {
  layer.load.assign(num_experts_, 0.0);
  for (const std::vector<double>& load : load_by_set_) {
    for (std::size_t i = 0; i < num_experts_; ++i) layer.load[i] += load[i];
  }
  const LoadSummary summary = summarise_load(whole_numbers(layer.load));
  layer.max_violation = summary.max_violation;
  layer.load_entropy = summary.entropy;
  layer.dead_experts = summary.dead_experts;
  layer.choice_entropy = num_experts_ > 1 ? entropy_ / num_tokens_ / std::log(static_cast<double>(num_experts_)) : 0.0;
  layer.margin = margin_ / num_tokens_;
  layer.load_by_set = load_by_set_;
  layer.specialisation = relative_divergence(load_by_set_);
  layer.coactivation = coactivation_;
  if (num_compared_ == 0.0) return;
  layer.kept = num_kept_ / num_compared_;
  double total = 0.0;
  for (const double count : layer.load) total += count;
  layer.kept_by_chance = 0.0;
  for (std::size_t i = 0; i < num_experts_; ++i) {
    layer.kept_by_chance += layer.load[i] / total * other_load_[i] / num_tokens_compared_;
  }
}

}  // namespace artel
