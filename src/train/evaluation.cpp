#include "train/evaluation.h"

#include "data/tokenizer.h"

namespace artel {

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

Evaluation evaluate(Context& context, Transformer& model, const ValidationReader& reader, std::int64_t batch_size,
                    std::int64_t batches) {
  Context inference = context;
  inference.record_tape = false;
  Evaluation result;
  Batch batch;
  for (std::int64_t i = 0; i < reader.num_batches(batches, batch_size); ++i) {
    reader.read(i * batch_size, batch_size, batch);
    PassInfo info;
    info.num_sequences = batch.num_samples;
    const Variable loss =
        model.loss(inference, upload_ids(context, batch.inputs), upload_ids(context, batch.targets), info);
    double sum = 0.0;
    context.backend.download(loss.data, &sum);
    result.loss += sum;
    result.tokens += static_cast<std::int64_t>(batch.targets.size());
  }
  if (result.tokens > 0) result.loss /= static_cast<double>(result.tokens);
  return result;
}

}  // namespace artel
