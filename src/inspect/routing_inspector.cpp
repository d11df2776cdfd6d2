#include "inspect/routing_inspector.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "inspect/choice_counter.h"
#include "inspect/dense_experts.h"
#include "inspect/score_sample.h"
#include "report/stats.h"
#include "train/evaluation.h"
#include "train/load_model.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// Keeps the choices of every layer for one batch.
class ChoiceKeeper : public RoutingObserver {
 public:
  ChoiceKeeper(Context& context, std::int64_t num_layers)
      : context_(context), choices_(static_cast<std::size_t>(num_layers)) {}

  void on_routing(std::int64_t layer, const Tensor&, const Routing& routing,
                  const std::vector<std::int32_t>&) override {
    choices_.at(static_cast<std::size_t>(layer)) = download_choices(context_, routing);
  }
  const std::vector<HostChoices>& choices() const { return choices_; }

 protected:
  Context& context_;

 private:
  std::vector<HostChoices> choices_;
};

// Counts what the model itself chooses, and hands the sample what it needs.
class ModelObserver final : public ChoiceKeeper {
 public:
  ModelObserver(Context& context, const ModelConfig& model, ScoreSample& sample)
      : ChoiceKeeper(context, model.num_hidden_layers),
        counters_(static_cast<std::size_t>(model.num_hidden_layers), ChoiceCounter(model.num_experts)),
        sample_(sample) {}

  void begin_set() {
    for (ChoiceCounter& counter : counters_) counter.begin_set();
  }

  void on_routing(std::int64_t layer, const Tensor& x, const Routing& routing,
                  const std::vector<std::int32_t>& expert_offsets) override {
    ChoiceKeeper::on_routing(layer, x, routing, expert_offsets);
    const auto at = static_cast<std::size_t>(layer);
    ChoiceCounter& counter = counters_[at];
    counter.add(choices()[at]);
    const Tensor sums = context_.empty({2}, DType::f64);
    context_.backend.routing_statistics(routing.probs, routing.expert_ids, routing.token_offsets, sums);
    double host[2];
    context_.backend.download(sums, host);
    counter.add_statistics(host[0], host[1], choices()[at].num_tokens());
    sample_.on_routing(layer, x, routing.probs, choices()[at]);
  }
  void on_output(std::int64_t layer, const Tensor& y) override { sample_.on_output(layer, y); }

  void compare(const std::vector<HostChoices>& other) {
    for (std::size_t layer = 0; layer < counters_.size(); ++layer) {
      counters_[layer].compare(choices()[layer], other[layer]);
    }
  }
  const std::vector<ChoiceCounter>& counters() const { return counters_; }

 private:
  std::vector<ChoiceCounter> counters_;
  ScoreSample& sample_;
};

TokenChoices token_choices(const std::vector<HostChoices>& layers, std::int64_t token) {
  TokenChoices result;
  const auto t = static_cast<std::size_t>(token);
  for (const HostChoices& layer : layers) {
    const auto first = layer.token_offsets[t];
    const auto end = layer.token_offsets[t + 1];
    result.experts.emplace_back(layer.ids.begin() + first, layer.ids.begin() + end);
    result.weights.emplace_back(layer.weights.begin() + first, layer.weights.begin() + end);
  }
  return result;
}

void check_models(const Transformer& model, const Transformer* other) {
  const ModelConfig& config = model.config();
  if (config.num_experts < 1) fail("inspect", "required a model with experts, found a dense one");
  if (other == nullptr) return;
  const ModelConfig& second = other->config();
  if (second.num_experts != config.num_experts || second.num_hidden_layers != config.num_hidden_layers ||
      second.vocab_size != config.vocab_size || second.max_position_embeddings < config.max_position_embeddings) {
    fail("inspect", concat("required --other to have ", config.num_hidden_layers, " layers of ", config.num_experts,
                           " experts, the vocabulary and the sequence length of --checkpoint, found ",
                           second.num_hidden_layers, " layers of ", second.num_experts, " experts, ", second.vocab_size,
                           " ids and sequences of ", second.max_position_embeddings, " tokens"));
  }
}

// The pass over all texts.
class Inspector {
 public:
  Inspector(Context& context, Transformer& model, Transformer* other, Transformer* without_shared,
            const InspectOptions& options)
      : context_(context),
        model_(model),
        other_(other),
        without_shared_(without_shared),
        options_(options),
        sample_(context, model),
        observer_(context, model.config(), sample_) {}

  RoutingInspection run(const std::vector<InspectText>& texts) {
    if (texts.empty()) fail("inspect", "required at least one text, found none");
    const auto num_texts = static_cast<std::int64_t>(texts.size());
    const std::int64_t per_text = (options_.sampled_tokens + num_texts - 1) / num_texts;
    for (const InspectText& text : texts) look_at(text, per_text);
    result_.routing = model_.config().routing.type;
    result_.num_experts = model_.config().num_experts;
    result_.num_experts_per_tok = model_.config().num_experts_per_tok;
    result_.sampled_tokens = sample_.num_tokens();
    for (std::size_t layer = 0; layer < observer_.counters().size(); ++layer) {
      LayerInspection inspection;
      inspection.layer = static_cast<std::int64_t>(layer);
      observer_.counters()[layer].finish(inspection);
      sample_.finish(inspection);
      result_.layers.push_back(std::move(inspection));
    }
    return std::move(result_);
  }

 private:
  void look_at(const InspectText& text, std::int64_t num_sampled) {
    set_name_ = text.name;
    InspectedSet set;
    set.name = text.name;
    set.path = text.reader->path();
    observer_.begin_set();
    double without_shared = 0.0;
    for (std::int64_t i = 0; i < text.reader->num_batches(options_.batches, options_.batch_size); ++i) {
      text.reader->read(i * options_.batch_size, options_.batch_size, batch_);
      sample_.choose(static_cast<std::int64_t>(batch_.inputs.size()), i == 0 ? num_sampled : 0);
      set.loss += batch_loss(context_, model_, batch_, &observer_);
      set.tokens += static_cast<std::int64_t>(batch_.targets.size());
      sample_.evaluate();
      if (other_ != nullptr) {
        ChoiceKeeper keeper(context_, model_.config().num_hidden_layers);
        batch_loss(context_, *other_, batch_, &keeper);
        observer_.compare(keeper.choices());
      }
      if (without_shared_ != nullptr) without_shared += batch_loss(context_, *without_shared_, batch_, nullptr);
      keep_choices(i);
    }
    const auto num_tokens = static_cast<double>(set.tokens);
    set.loss /= num_tokens;
    if (without_shared_ != nullptr) set.loss_without_shared = without_shared / num_tokens;
    result_.tokens += set.tokens;
    result_.sets.push_back(std::move(set));
  }

  void keep_choices(std::int64_t batch_index) {
    const std::int64_t shown = batch_index == 0 ? options_.shown_tokens : 0;
    for (std::int64_t t = 0; t < static_cast<std::int64_t>(batch_.inputs.size()); ++t) {
      if (t >= shown && !options_.each_token) break;
      TokenChoices choices = token_choices(observer_.choices(), t);
      choices.set = result_.sets.size();
      choices.sequence = batch_index * options_.batch_size + t / batch_.seq_len;
      choices.position = t % batch_.seq_len;
      choices.token = batch_.inputs[static_cast<std::size_t>(t)];
      if (options_.each_token) options_.each_token(choices, set_name_);
      if (t < shown) result_.choices.push_back(std::move(choices));
    }
  }

  Context& context_;
  Transformer& model_;
  Transformer* other_;
  Transformer* without_shared_;
  const InspectOptions& options_;
  ScoreSample sample_;
  ModelObserver observer_;
  Batch batch_;
  std::string set_name_;
  RoutingInspection result_;
};

}  // namespace

RoutingInspection inspect_routing(Context& context, Transformer& model, Transformer* other, Transformer* without_shared,
                                  const std::vector<InspectText>& texts, const InspectOptions& options) {
  check_models(model, other);
  return Inspector(context, model, other, without_shared, options).run(texts);
}

std::unique_ptr<Transformer> load_for_inspection(Context& context, Communicator& world, const ModelConfig& config,
                                                 const Checkpoint& checkpoint) {
  auto model = std::make_unique<Transformer>(config, world);
  model->allocate(context, DType::f32);
  load_model(context, checkpoint, *model);
  return model;
}

std::unique_ptr<Transformer> load_without_shared(Context& context, Communicator& world, const ModelConfig& config,
                                                 const Checkpoint& checkpoint) {
  if (config.num_experts < 1) return nullptr;
  ModelConfig reduced = config;
  if (config.routing.type == "uoe" && config.routing.uoe.routed_includes_routing_neurons) {
    if (!config.routing.uoe.virtual_shared_expert) return nullptr;
    reduced.routing.uoe.virtual_shared_expert = false;
    return load_for_inspection(context, world, reduced, checkpoint);
  }
  auto model = load_for_inspection(context, world, config, checkpoint);
  const DenseExperts experts(config, model->parameters());
  if (experts.shared_kind() == SharedKind::none) return nullptr;
  experts.silence_shared(context);
  return model;
}

}  // namespace artel
