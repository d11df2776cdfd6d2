#include "train/evaluation.h"

#include "data/tokenizer.h"

namespace artel {
namespace {

// Counts what each expert of each layer gets.
class ExpertCounter final : public RoutingObserver {
 public:
  explicit ExpertCounter(const ModelConfig& model)
      : counts_(model.num_experts > 0 ? static_cast<std::size_t>(model.num_hidden_layers) : 0,
                std::vector<std::int64_t>(static_cast<std::size_t>(model.num_experts), 0)) {}

  void on_routing(std::int64_t layer, const Tensor&, const Routing&,
                  const std::vector<std::int32_t>& expert_offsets) override {
    std::vector<std::int64_t>& counts = counts_.at(static_cast<std::size_t>(layer));
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += expert_offsets[i + 1] - expert_offsets[i];
  }
  const std::vector<std::vector<std::int64_t>>& counts() const { return counts_; }

 private:
  std::vector<std::vector<std::int64_t>> counts_;
};

}  // namespace

DataOptions data_options(const Config& config) {
  DataOptions options;
  options.seq_len = config.model.max_position_embeddings;
  options.vocab_size = config.model.vocab_size;
  // `bytes` on a larger vocabulary only says how to show text: then the width of an id follows from the vocabulary.
  const bool bytes = config.data.tokenizer == "bytes" && config.model.vocab_size <= ByteTokenizer().num_ids();
  options.num_ids = bytes ? ByteTokenizer().num_ids() : config.model.vocab_size;
  return options;
}

DataSource data_source(const DataFile& file) {
  return {file.path, file.weight, file.dtype};
}

Tensor upload_ids(Context& context, const std::vector<std::int32_t>& ids) {
  Tensor tensor = context.empty({static_cast<std::int64_t>(ids.size())}, DType::i32);
  context.backend.upload(ids.data(), tensor);
  return tensor;
}

double batch_loss(Context& context, Transformer& model, const Batch& batch, RoutingObserver* observer) {
  Context inference = context;
  inference.record_tape = false;
  PassInfo info;
  info.num_sequences = batch.num_samples;
  info.observer = observer;
  const Variable loss =
      model.loss(inference, upload_ids(context, batch.inputs), upload_ids(context, batch.targets), info);
  double sum = 0.0;
  context.backend.download(loss.data, &sum);
  return sum;
}

Evaluation evaluate(Context& context, Transformer& model, const ValidationReader& reader, std::int64_t batch_size,
                    std::int64_t batches) {
  Evaluation result;
  ExpertCounter counter(model.config());
  Batch batch;
  for (std::int64_t i = 0; i < reader.num_batches(batches, batch_size); ++i) {
    reader.read(i * batch_size, batch_size, batch);
    result.loss += batch_loss(context, model, batch, &counter);
    result.tokens += static_cast<std::int64_t>(batch.targets.size());
  }
  if (result.tokens > 0) result.loss /= static_cast<double>(result.tokens);
  result.expert_counts = counter.counts();
  return result;
}

}  // namespace artel
