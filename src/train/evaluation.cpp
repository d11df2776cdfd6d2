#include "train/evaluation.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "tokenizer/tokenizer.h"
#include "util/error.h"

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

void sum_over_ranks(Communicator& world, Evaluation& evaluation) {
  std::vector<double> values{evaluation.loss, static_cast<double>(evaluation.tokens),
                             static_cast<double>(evaluation.bytes)};
  for (const auto& layer : evaluation.expert_counts) values.insert(values.end(), layer.begin(), layer.end());
  world.all_reduce_values(values, Purpose::statistics);
  auto next = values.begin();
  evaluation.loss = *next++;
  evaluation.tokens = static_cast<std::int64_t>(*next++);
  evaluation.bytes = static_cast<std::int64_t>(*next++);
  for (auto& layer : evaluation.expert_counts) {
    for (std::int64_t& count : layer) count = static_cast<std::int64_t>(*next++);
  }
}

// Reads windows of this rank. False on every rank when one cannot, whose error the evaluation takes.
bool read_together(const ValidationReader& reader, std::int64_t first, std::int64_t count, Communicator* world,
                   Batch& batch, Evaluation& evaluation) {
  std::int64_t failed = 0;
  try {
    reader.read(first, count, batch);
  } catch (const Error&) {
    evaluation.error = std::current_exception();
    failed = 1;
  }
  if (world != nullptr && world->size() > 1) {
    world->all_reduce_values(std::span(&failed, 1), Purpose::control, Reduction::max);
  }
  evaluation.complete = failed == 0;
  return evaluation.complete;
}

// An id beyond the tokenizer's has no text.
std::int64_t bytes_of(const std::vector<std::int32_t>& ids, const std::vector<std::int32_t>* bytes_of_id) {
  std::int64_t sum = 0;
  if (bytes_of_id == nullptr || bytes_of_id->empty()) return sum;
  for (const std::int32_t id : ids) {
    const auto index = static_cast<std::size_t>(id);
    sum += index < bytes_of_id->size() ? (*bytes_of_id)[index] : 0;
  }
  return sum;
}

}  // namespace

DataOptions data_options(const Config& config) {
  DataOptions options;
  options.seq_len = config.model.max_position_embeddings;
  options.vocab_size = config.model.vocab_size;
  // `bytes` on a larger vocabulary only says how to show text: then the width of an id follows from the vocabulary.
  const bool bytes = config.data.tokenizer == "bytes" && config.model.vocab_size <= ByteTokenizer().num_ids();
  options.num_ids = bytes ? ByteTokenizer().num_ids() : config.model.vocab_size;
  options.megatron_order = config.data.order == "megatron";
  options.num_samples = config.train.steps * config.train.global_batch_size;
  options.document_mask = config.data.document_mask;
  options.end_of_document = static_cast<std::int32_t>(config.data.end_of_document);
  if (options.document_mask && options.end_of_document < 0 && is_known_tokenizer(config.data.tokenizer)) {
    const auto tokenizer = make_tokenizer(config.data.tokenizer);
    if (tokenizer->has_end_of_document()) options.end_of_document = tokenizer->end_of_document();
  }
  return options;
}

DataSource data_source(const DataFile& file) {
  return {file.path, file.weight, file.dtype};
}

std::optional<std::int32_t> masked_document_end(const Config& config) {
  const DataOptions options = data_options(config);
  if (!options.document_mask || options.end_of_document < 0) return std::nullopt;
  return options.end_of_document;
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
  if (!batch.document_starts.empty()) info.document_starts = upload_ids(context, batch.document_starts);
  const Variable loss =
      model.loss(inference, upload_ids(context, batch.inputs), upload_ids(context, batch.targets), info);
  double sum = 0.0;
  context.backend.download(loss.data, &sum);
  return sum;
}

std::optional<double> bits_per_byte(const Evaluation& evaluation) {
  if (evaluation.bytes == 0) return std::nullopt;
  return evaluation.loss / std::log(2.0) * static_cast<double>(evaluation.tokens) /
         static_cast<double>(evaluation.bytes);
}

EvaluationOptions evaluation_options(const Config& config, std::int64_t batches, Communicator* world) {
  EvaluationOptions options;
  options.batch_size = config.train.global_batch_size;
  options.batches = batches;
  options.micro_batch_size = config.train.micro_batch_size;
  options.world = world;
  return options;
}

Evaluation evaluate(Context& context, Transformer& model, const ValidationReader& reader,
                    const EvaluationOptions& options) {
  const std::int64_t num_windows =
      std::min(reader.num_batches(options.batches, options.batch_size) * options.batch_size, reader.num_windows());
  const std::int64_t num_ranks = options.world != nullptr ? options.world->size() : 1;
  const std::int64_t rank = options.world != nullptr ? options.world->rank() : 0;
  const std::int64_t size = options.micro_batch_size;
  Evaluation result;
  ExpertCounter counter(model.config());
  Batch batch;
  for (std::int64_t pass = 0; pass < num_windows; pass += num_ranks * size) {
    const std::int64_t first = pass + rank * size;
    // Experts may live on other ranks: one without windows left takes part with one that does not count.
    const bool counts = first < num_windows;
    const std::int64_t count = counts ? std::min(size, num_windows - first) : 1;
    if (!read_together(reader, counts ? first : 0, count, options.world, batch, result)) return result;
    const double loss = batch_loss(context, model, batch, counts ? &counter : nullptr);
    if (!counts) continue;
    result.loss += loss;
    result.tokens += static_cast<std::int64_t>(batch.targets.size());
    result.bytes += bytes_of(batch.targets, options.bytes_of_id);
  }
  result.expert_counts = counter.counts();
  if (num_ranks > 1) sum_over_ranks(*options.world, result);
  if (result.tokens > 0) result.loss /= static_cast<double>(result.tokens);
  return result;
}

}  // namespace artel
