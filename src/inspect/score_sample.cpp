#include "inspect/score_sample.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "report/stats.h"
#include "util/error.h"

namespace artel {
namespace {

constexpr const char* kTargets[] = {"gate_activation", "activation", "output", "gate_activation_of_the_rest"};

double sum_of_norms(Context& context, const Tensor& x) {
  const Tensor norms = context.empty({x.size(0)}, DType::f32);
  context.backend.row_norms(x, norms);
  std::vector<float> host(static_cast<std::size_t>(x.size(0)));
  context.backend.download(norms, host.data());
  return std::accumulate(host.begin(), host.end(), 0.0);
}

Tensor gathered(Context& context, const Tensor& x, const Tensor& index) {
  Tensor rows = context.empty({index.numel(), x.size(1)}, x.dtype());
  context.backend.gather_rows(x, index, rows);
  return rows;
}

// How many of `chosen` are among the chosen.size() largest of `norms`; among equals the lower index is larger.
std::int64_t num_among_strongest(const std::vector<std::int32_t>& chosen, const std::vector<double>& norms) {
  std::vector<std::int32_t> order(norms.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return norms[static_cast<std::size_t>(a)] > norms[static_cast<std::size_t>(b)];
  });
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(chosen.size());
  return std::count_if(chosen.begin(), chosen.end(),
                       [&](std::int32_t expert) { return std::find(order.begin(), end, expert) != end; });
}

}  // namespace

ScoreSample::ScoreSample(Context& context, Transformer& model)
    : context_(context),
      num_experts_(model.config().num_experts),
      experts_(model.config(), model.parameters()),
      kept_(static_cast<std::size_t>(model.config().num_hidden_layers)),
      layers_(kept_.size()) {}

void ScoreSample::choose(std::int64_t num_tokens, std::int64_t count) {
  count = std::min(count, num_tokens);
  rows_.clear();
  for (std::int64_t i = 0; i < count; ++i) rows_.push_back(static_cast<std::int32_t>(i * num_tokens / count));
  if (rows_.empty()) return;
  index_ = context_.empty({count}, DType::i32);
  context_.backend.upload(rows_.data(), index_);
}

void ScoreSample::on_routing(std::int64_t layer, const Tensor& x, const Tensor& probs, const HostChoices& choices) {
  if (rows_.empty()) return;
  Kept& kept = kept_.at(static_cast<std::size_t>(layer));
  kept.x = gathered(context_, x, index_);
  const Tensor sampled = gathered(context_, probs, index_);
  kept.probs.resize(static_cast<std::size_t>(sampled.numel()));
  context_.backend.download(sampled, kept.probs.data());
  kept.chosen.clear();
  for (const std::int32_t row : rows_) {
    const auto t = static_cast<std::size_t>(row);
    kept.chosen.emplace_back(choices.ids.begin() + choices.token_offsets[t],
                             choices.ids.begin() + choices.token_offsets[t + 1]);
  }
}

void ScoreSample::on_output(std::int64_t layer, const Tensor& y) {
  if (!rows_.empty()) kept_.at(static_cast<std::size_t>(layer)).y = gathered(context_, y, index_);
}

void ScoreSample::evaluate() {
  if (rows_.empty()) return;
  for (std::size_t layer = 0; layer < kept_.size(); ++layer) evaluate_layer(static_cast<std::int64_t>(layer));
  num_tokens_ += static_cast<std::int64_t>(rows_.size());
}

void ScoreSample::evaluate_layer(std::int64_t index) {
  const Kept& kept = kept_[static_cast<std::size_t>(index)];
  Layer& layer = layers_[static_cast<std::size_t>(index)];
  const ExpertNorms norms = experts_.norms(context_, index, kept.x);
  const std::vector<double>* values[] = {&norms.gate_activation, &norms.activation, &norms.output, &norms.rest};
  layer.targets.resize(norms.rest.empty() ? 3 : 4);
  for (std::size_t i = 0; i < layer.targets.size(); ++i) add_target(layer.targets[i], kept, *values[i]);
  layer.output += sum_of_norms(context_, kept.y);
  if (experts_.shared_kind() != SharedKind::none) add_shared(layer, index);
}

void ScoreSample::add_target(Target& target, const Kept& kept, const std::vector<double>& norms) const {
  const auto num_experts = static_cast<std::size_t>(num_experts_);
  for (std::size_t token = 0; token < kept.chosen.size(); ++token) {
    const std::size_t first = token * num_experts;
    const std::vector<double> scores(kept.probs.begin() + static_cast<std::ptrdiff_t>(first),
                                     kept.probs.begin() + static_cast<std::ptrdiff_t>(first + num_experts));
    const std::vector<double> of_token(norms.begin() + static_cast<std::ptrdiff_t>(first),
                                       norms.begin() + static_cast<std::ptrdiff_t>(first + num_experts));
    const double correlation = num_experts > 1 ? spearman(scores, of_token) : std::nan("");
    if (!std::isnan(correlation)) target.correlations.push_back(correlation);
    target.num_chosen += static_cast<double>(kept.chosen[token].size());
    target.num_strongest += static_cast<double>(num_among_strongest(kept.chosen[token], of_token));
  }
}

void ScoreSample::add_shared(Layer& layer, std::int64_t index) {
  const Kept& kept = kept_[static_cast<std::size_t>(index)];
  const Tensor shared = experts_.shared_output(context_, index, kept.x);
  layer.shared += sum_of_norms(context_, shared);
  // y - shared without a kernel for it: on the host, where it is a few thousand rows.
  std::vector<float> difference(static_cast<std::size_t>(kept.y.numel()));
  std::vector<float> subtrahend(difference.size());
  context_.backend.download(kept.y, difference.data());
  context_.backend.download(shared, subtrahend.data());
  for (std::size_t i = 0; i < difference.size(); ++i) difference[i] -= subtrahend[i];
  context_.backend.upload(difference.data(), shared);
  layer.other += sum_of_norms(context_, shared);
}

void ScoreSample::finish(LayerInspection& inspection) const {
  const Layer& layer = layers_.at(static_cast<std::size_t>(inspection.layer));
  for (std::size_t i = 0; i < layer.targets.size(); ++i) {
    const Target& target = layer.targets[i];
    ScoreAgreement agreement;
    agreement.target = kTargets[i];
    agreement.chosen_strongest = target.num_strongest / target.num_chosen;
    const bool any = !target.correlations.empty();
    agreement.rank_correlation = any ? mean_of(target.correlations) : std::nan("");
    agreement.lower_quartile = any ? quantile_of(target.correlations, 0.25) : std::nan("");
    agreement.upper_quartile = any ? quantile_of(target.correlations, 0.75) : std::nan("");
    inspection.agreements.push_back(agreement);
  }
  const auto num_tokens = static_cast<double>(num_tokens_);
  if (num_tokens_ > 0) inspection.shared.output_norm = layer.output / num_tokens;
  if (num_tokens_ == 0 || experts_.shared_kind() == SharedKind::none) return;
  inspection.shared.kind = experts_.shared_kind() == SharedKind::real ? "real" : "virtual";
  inspection.shared.norm = layer.shared / num_tokens;
  inspection.shared.other_norm = layer.other / num_tokens;
}

}  // namespace artel
