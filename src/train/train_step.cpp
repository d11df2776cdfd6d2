#include "train/train_step.h"

#include <cmath>
#include <span>

#include "core/trace.h"
#include "train/evaluation.h"

namespace artel {
namespace {

// Sequences first .. first + count - 1 of a batch's ids [B, S], on the device.
Tensor micro_batch(Context& context, const std::vector<std::int32_t>& ids, std::int64_t seq_len, std::int64_t first,
                   std::int64_t count) {
  Tensor tensor = context.empty({count * seq_len}, DType::i32);
  context.backend.upload(ids.data() + first * seq_len, tensor);
  return tensor;
}

std::vector<StepStatistics> step_statistics(const std::vector<LayerStatistics>& layers) {
  std::vector<StepStatistics> statistics;
  for (const LayerStatistics& layer : layers) statistics.push_back({layer.expert_counts});
  return statistics;
}

// Every figure of the step as a sum over the ranks, in one transfer.
void sum_over_ranks(Communicator& world, StepOutcome& outcome) {
  std::vector<double> values{outcome.loss};
  for (const LayerStatistics& layer : outcome.layers) {
    values.insert(values.end(), {layer.auxiliary.balance, layer.auxiliary.z, layer.choice.entropy, layer.choice.margin,
                                 static_cast<double>(layer.choice.num_tokens)});
    for (const std::int64_t count : layer.expert_counts) values.push_back(static_cast<double>(count));
  }
  world.all_reduce_values(values, Purpose::statistics);
  auto next = values.begin();
  outcome.loss = *next++;
  for (LayerStatistics& layer : outcome.layers) {
    layer.auxiliary.balance = *next++;
    layer.auxiliary.z = *next++;
    layer.choice.entropy = *next++;
    layer.choice.margin = *next++;
    layer.choice.num_tokens = static_cast<std::int64_t>(*next++);
    for (std::int64_t& count : layer.expert_counts) count = static_cast<std::int64_t>(*next++);
  }
}

// What the host reads of a step before it knows of the update.
void read_passes(Communicator* world, StepInFlight& step, StepOutcome& outcome) {
  for (ReadBack<double>& loss : step.loss_values) {
    outcome.loss += loss.values()[0] / static_cast<double>(step.options.tokens_per_step);
  }
  outcome.layers = layer_statistics(std::move(step.layers));
  if (world != nullptr) sum_over_ranks(*world, outcome);
  for (const LayerStatistics& layer : outcome.layers) {
    outcome.aux_loss += layer.auxiliary.balance / static_cast<double>(outcome.layers.size());
    outcome.z_loss += layer.auxiliary.z / static_cast<double>(outcome.layers.size());
  }
}

Communicator* world_of(const StepOptions& options) {
  return options.sync != nullptr ? &options.sync->world() : nullptr;
}

void finish_gradients(Context& context, const StepOptions& options) {
  if (options.sync == nullptr) return;
  const TraceSpan span(context.tracer, TraceKind::communication, "gradient_sync_wait");
  options.sync->finish();
}

void apply(Context& context, AdamW& optimizer, const StepOptions& options) {
  optimizer.update(context, options.lr, options.step);
  if (options.sync == nullptr) return;
  const TraceSpan span(context.tracer, TraceKind::communication, "gather_values");
  options.sync->gather_values();
}

// With the host in between, which may say no.
void update(Context& context, AdamW& optimizer, const StepOptions& options, const AcceptStep& accept,
            StepOutcome& outcome) {
  optimizer.measure(context);
  std::vector<double> figures = ReadBack<double>(context, optimizer.figures()).values();
  if (Communicator* const world = world_of(options)) {
    world->all_reduce_values(std::span(figures).first(1), Purpose::gradients);
  }
  figures[1] = outcome.loss;
  context.backend.upload(figures.data(), optimizer.figures());
  optimizer.decide(context);
  outcome.update.grad_norm = std::sqrt(figures[0]);
  outcome.finite = !std::isnan(ReadBack<float>(context, optimizer.scale()).values()[0]);
  if (!outcome.finite || (accept && !accept(outcome.loss, outcome.update.grad_norm))) return;
  apply(context, optimizer, options);
  outcome.update.applied = true;
}

StepInFlight run_passes(Context& context, Transformer& model, const Batch& batch, const StepOptions& options) {
  StepInFlight step;
  step.options = options;
  model.parameters().begin_gradients();
  for (std::int64_t first = 0; first < batch.num_samples; first += options.micro_batch_size) {
    const std::int64_t count = std::min(options.micro_batch_size, batch.num_samples - first);
    const Variable loss = [&] {
      const TraceSpan span(context.tracer, TraceKind::phase, "forward");
      return micro_batch_loss(context, model, batch, first, count, options);
    }();
    {
      const TraceSpan span(context.tracer, TraceKind::phase, "backward");
      const bool last = first + count >= batch.num_samples;
      if (last && options.sync != nullptr) options.sync->arm();
      backward(context, {loss});
    }
    step.losses.push_back(loss.data);
    step.loss_values.emplace_back(context, loss.data);
  }
  model.parameters().complete_gradients(context);
  step.layers = model.take_statistics();
  return step;
}

}  // namespace

Variable micro_batch_loss(Context& context, Transformer& model, const Batch& batch, std::int64_t first,
                          std::int64_t count, const StepOptions& options) {
  PassInfo info;
  info.num_sequences = count;
  info.step = options.step;
  info.tokens_per_step = options.tokens_per_step;
  info.training = true;
  info.recompute_blocks = options.recompute_blocks;
  if (!batch.document_starts.empty()) {
    info.document_starts = micro_batch(context, batch.document_starts, batch.seq_len, first, count);
  }
  return model.loss(context, micro_batch(context, batch.inputs, batch.seq_len, first, count),
                    micro_batch(context, batch.targets, batch.seq_len, first, count), info);
}

StepOutcome run_step(Context& context, Transformer& model, AdamW& optimizer, const Batch& batch,
                     const StepOptions& options, const AcceptStep& accept) {
  StepInFlight step = run_passes(context, model, batch, options);
  StepOutcome outcome;
  const TraceSpan update_span(context.tracer, TraceKind::phase, "update");
  finish_gradients(context, options);
  read_passes(world_of(options), step, outcome);
  {
    const TraceSpan span(context.tracer, TraceKind::update, "optimizer");
    update(context, optimizer, options, accept, outcome);
  }
  if (outcome.update.applied) model.after_step(context, step_statistics(outcome.layers));
  return outcome;
}

StepInFlight start_passes(Context& context, Transformer& model, const Batch& batch, const StepOptions& options) {
  StepInFlight step = run_passes(context, model, batch, options);
  const TraceSpan span(context.tracer, TraceKind::phase, "update");
  finish_gradients(context, options);
  return step;
}

void start_update(Context& context, AdamW& optimizer, StepInFlight& step) {
  const TraceSpan phase(context.tracer, TraceKind::phase, "update");
  const TraceSpan span(context.tracer, TraceKind::update, "optimizer");
  optimizer.measure(context);
  for (const Tensor& loss : step.losses) context.backend.add_up(loss, optimizer.figures().rows(1, 2));
  step.losses.clear();
  if (Communicator* const world = world_of(step.options)) world->all_reduce(optimizer.figures(), Purpose::gradients);
  optimizer.decide(context);
  step.figures.emplace(context, optimizer.figures());
  step.scale.emplace(context, optimizer.scale());
  apply(context, optimizer, step.options);
}

StepOutcome finish_step(Context& context, Transformer& model, StepInFlight step) {
  const TraceSpan span(context.tracer, TraceKind::phase, "figures");
  StepOutcome outcome;
  read_passes(world_of(step.options), step, outcome);
  outcome.update.grad_norm = std::sqrt(step.figures->values()[0]);
  outcome.update.applied = !std::isnan(step.scale->values()[0]);
  outcome.finite = outcome.update.applied;
  if (outcome.update.applied) model.after_step(context, step_statistics(outcome.layers));
  return outcome;
}

}  // namespace artel
