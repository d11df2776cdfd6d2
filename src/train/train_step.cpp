#include "train/train_step.h"

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

}  // namespace

StepOutcome run_step(Context& context, Transformer& model, AdamW& optimizer, const Batch& batch,
                     const StepOptions& options) {
  StepOutcome outcome;
  model.parameters().zero_gradients(context);
  PassInfo info;
  info.step = options.step;
  info.tokens_per_step = options.tokens_per_step;
  info.training = true;
  info.recompute_blocks = options.recompute_blocks;
  for (std::int64_t first = 0; first < batch.num_samples; first += options.micro_batch_size) {
    info.num_sequences = std::min(options.micro_batch_size, batch.num_samples - first);
    const Variable loss =
        model.loss(context, micro_batch(context, batch.inputs, batch.seq_len, first, info.num_sequences),
                   micro_batch(context, batch.targets, batch.seq_len, first, info.num_sequences), info);
    backward(context, {loss});
    double sum = 0.0;
    context.backend.download(loss.data, &sum);
    outcome.loss += sum / static_cast<double>(options.tokens_per_step);
  }
  outcome.layers = model.take_statistics(context);
  for (const LayerStatistics& layer : outcome.layers) {
    outcome.aux_loss += layer.auxiliary.balance / static_cast<double>(outcome.layers.size());
  }
  outcome.update = optimizer.step(context, options.lr, options.step);
  if (outcome.update.applied) model.after_step(context, step_statistics(outcome.layers));
  return outcome;
}

}  // namespace artel
