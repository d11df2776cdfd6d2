#include "train/train_step.h"

#include <cmath>
#include <span>

#include "core/trace.h"
#include "ops/read_back.h"
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

void update(Context& context, AdamW& optimizer, const StepOptions& options, const AcceptStep& accept,
            StepOutcome& outcome) {
  StepResult& result = outcome.update;
  AdamW::SumOverRanks sum;
  if (options.sync != nullptr) {
    sum = [&options](double value) {
      options.sync->world().all_reduce_values(std::span(&value, 1), Purpose::gradients);
      return value;
    };
  }
  result.grad_norm = optimizer.grad_norm(context, sum);
  outcome.finite = std::isfinite(outcome.loss) && optimizer.accepts(result.grad_norm);
  if (!outcome.finite || (accept && !accept(outcome.loss, result.grad_norm))) return;
  optimizer.update(context, options.lr, options.step, result.grad_norm);
  if (options.sync != nullptr) {
    const TraceSpan span(context.tracer, TraceKind::communication, "gather_values");
    options.sync->gather_values();
  }
  result.applied = true;
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
  StepOutcome outcome;
  std::vector<ReadBack<double>> losses;  // of the micro-batches
  {
    const TraceSpan span(context.tracer, TraceKind::update, "zero_gradients");
    model.parameters().zero_gradients(context);
  }
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
    losses.emplace_back(context, loss.data);
  }
  const TraceSpan update_span(context.tracer, TraceKind::phase, "update");
  for (ReadBack<double>& loss : losses) {
    outcome.loss += loss.values()[0] / static_cast<double>(options.tokens_per_step);
  }
  outcome.layers = model.take_statistics();
  if (options.sync != nullptr) {
    const TraceSpan span(context.tracer, TraceKind::communication, "gradient_sync_wait");
    options.sync->finish();
    sum_over_ranks(options.sync->world(), outcome);
  }
  for (const LayerStatistics& layer : outcome.layers) {
    outcome.aux_loss += layer.auxiliary.balance / static_cast<double>(outcome.layers.size());
  }
  {
    const TraceSpan span(context.tracer, TraceKind::update, "optimizer");
    update(context, optimizer, options, accept, outcome);
  }
  if (outcome.update.applied) model.after_step(context, step_statistics(outcome.layers));
  return outcome;
}

}  // namespace artel
