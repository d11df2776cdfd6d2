#include "train/choice_evaluation.h"

#include <algorithm>
#include <memory>
#include <span>

#include "data/document_starts.h"
#include "tokenizer/tokenizer.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

/// One completion behind its context.
struct Row {
  const ChoiceExample* example;
  std::size_t completion;
};

std::vector<Row> rows_of(const ChoiceTask& task, std::int64_t longest) {
  std::vector<Row> rows;
  for (const ChoiceExample& example : task.examples) {
    for (std::size_t i = 0; i < example.completions.size(); ++i) {
      if (static_cast<std::int64_t>(example.completions[i].size()) > longest) {
        fail("task", concat(task.path, ": example ", &example - task.examples.data(),
                            " required completions of at most max_position_embeddings ", longest, " tokens, found ",
                            example.completions[i].size()));
      }
      rows.push_back({&example, i});
    }
  }
  return rows;
}

/// The ids of a row but its last, as much of them from the end as the model takes.
std::vector<std::int32_t> inputs_of(const Row& row, std::int64_t longest) {
  std::vector<std::int32_t> ids = row.example->context;
  const std::vector<std::int32_t>& completion = row.example->completions[row.completion];
  ids.insert(ids.end(), completion.begin(), completion.end() - 1);
  const auto excess = static_cast<std::int64_t>(ids.size()) - longest;
  if (excess > 0) ids.erase(ids.begin(), ids.begin() + excess);
  return ids;
}

/// Log-probabilities of the completions of rows first .. first + count - 1, summed over their tokens.
std::vector<double> score(Context& context, Transformer& model, const std::vector<Row>& rows, std::size_t first,
                          std::size_t count, std::optional<std::int32_t> document_end) {
  std::vector<std::vector<std::int32_t>> inputs;
  std::size_t length = 0;
  for (std::size_t i = 0; i < count; ++i) {
    inputs.push_back(inputs_of(rows[first + i], model.config().max_position_embeddings));
    length = std::max(length, inputs.back().size());
  }
  std::vector<std::int32_t> ids, places, targets;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& completion = rows[first + i].example->completions[rows[first + i].completion];
    for (std::size_t j = 0; j < completion.size(); ++j) {
      places.push_back(static_cast<std::int32_t>(ids.size() + inputs[i].size() - completion.size() + j));
      targets.push_back(completion[j]);
    }
    ids.insert(ids.end(), inputs[i].begin(), inputs[i].end());
    ids.resize((i + 1) * length, 0);  // behind the completion nothing is looked at
  }
  PassInfo info;
  info.num_sequences = static_cast<std::int64_t>(count);
  if (document_end) {
    std::vector<std::int32_t> starts(ids.size());
    for (std::size_t at = 0; at < ids.size(); at += length) {
      document_starts_by_id(ids.data() + at, static_cast<std::int64_t>(length), *document_end, starts.data() + at);
    }
    info.document_starts = upload_ids(context, starts);
  }
  const Tensor losses = model.token_losses(context, upload_ids(context, ids), upload_ids(context, places),
                                           upload_ids(context, targets), info);
  std::vector<float> values(targets.size());
  context.backend.download(losses, values.data());
  std::vector<double> sums(count, 0.0);
  auto next = values.begin();
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t size = rows[first + i].example->completions[rows[first + i].completion].size();
    for (std::size_t j = 0; j < size; ++j) sums[i] -= static_cast<double>(*next++);
  }
  return sums;
}

/// Whether the right one has the largest of sums[i] / divisor(i), the first among equals.
template <class Divisor>
bool is_right(const ChoiceExample& example, const double* sums, const Divisor& divisor) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < example.completions.size(); ++i) {
    if (sums[i] / divisor(i) > sums[best] / divisor(best)) best = i;
  }
  return static_cast<std::int64_t>(best) == example.label;
}

ChoiceScores scores_of(const ChoiceTask& task, const double* sums) {
  std::int64_t plain = 0, per_token = 0, per_byte = 0;
  bool has_bytes = true;
  for (const ChoiceExample& example : task.examples) {
    plain += is_right(example, sums, [](std::size_t) { return 1.0; });
    per_token +=
        is_right(example, sums, [&](std::size_t i) { return static_cast<double>(example.completions[i].size()); });
    has_bytes = has_bytes && !example.completion_bytes.empty();
    per_byte += has_bytes && is_right(example, sums, [&](std::size_t i) {
                  return std::max(1.0, static_cast<double>(example.completion_bytes[i]));
                });
    sums += example.completions.size();
  }
  const auto count = static_cast<double>(task.examples.size());
  ChoiceScores scores;
  scores.num_examples = static_cast<std::int64_t>(task.examples.size());
  scores.accuracy = static_cast<double>(plain) / count;
  scores.accuracy_per_token = static_cast<double>(per_token) / count;
  if (has_bytes) scores.accuracy_per_byte = static_cast<double>(per_byte) / count;
  return scores;
}

// None where the tokenizer is not in this build or its ids are not those of the model.
std::shared_ptr<const Tokenizer> tokenizer_of(const Config& config) {
  if (!is_known_tokenizer(config.data.tokenizer)) return nullptr;
  std::shared_ptr<const Tokenizer> tokenizer = make_tokenizer(config.data.tokenizer);
  // `bytes` on another vocabulary only says how to show text.
  const bool fits = tokenizer->num_ids() <= config.model.vocab_size &&
                    (config.data.tokenizer != "bytes" || tokenizer->num_ids() == config.model.vocab_size);
  return fits ? tokenizer : nullptr;
}

}  // namespace

std::vector<double> choice_log_probabilities(Context& context, Transformer& model, const ChoiceTask& task,
                                             const EvaluationOptions& options) {
  const std::vector<Row> rows = rows_of(task, model.config().max_position_embeddings);
  const auto num_ranks = static_cast<std::size_t>(options.world != nullptr ? options.world->size() : 1);
  const auto rank = static_cast<std::size_t>(options.world != nullptr ? options.world->rank() : 0);
  const auto size = static_cast<std::size_t>(options.micro_batch_size);
  std::vector<double> sums(rows.size(), 0.0);
  for (std::size_t pass = 0; pass < rows.size(); pass += num_ranks * size) {
    const std::size_t first = pass + rank * size;
    // Experts may live on other ranks: one without rows left takes part with one that does not count.
    const bool counts = first < rows.size();
    const std::vector<double> found = score(context, model, rows, counts ? first : 0,
                                            counts ? std::min(size, rows.size() - first) : 1, options.document_end);
    if (counts) std::copy(found.begin(), found.end(), sums.begin() + static_cast<std::ptrdiff_t>(first));
  }
  if (num_ranks > 1) options.world->all_reduce_values(std::span(sums), Purpose::statistics);
  return sums;
}

ChoiceScores evaluate_choices(Context& context, Transformer& model, const ChoiceTask& task,
                              const EvaluationOptions& options) {
  return scores_of(task, choice_log_probabilities(context, model, task, options).data());
}

Json choice_scores_json(const ChoiceScores& scores) {
  Json json;
  json["examples"] = scores.num_examples;
  json["accuracy"] = scores.accuracy;
  json["accuracy_per_token"] = scores.accuracy_per_token;
  if (scores.accuracy_per_byte) json["accuracy_per_byte"] = *scores.accuracy_per_byte;
  return json;
}

TaskText task_text(const Config& config) {
  const auto tokenizer = tokenizer_of(config);
  if (!tokenizer) return {};
  return {[tokenizer](std::string_view text) { return tokenizer->encode(text); },
          [tokenizer](const std::vector<std::int32_t>& ids) {
            return static_cast<std::int64_t>(tokenizer->decode(ids).size());
          }};
}

std::vector<std::int32_t> bytes_of_ids(const Config& config) {
  const auto tokenizer = tokenizer_of(config);
  std::vector<std::int32_t> bytes;
  if (!tokenizer) return bytes;
  for (std::int32_t id = 0; id < tokenizer->num_ids(); ++id) {
    const bool is_text = tokenizer->has_id(id) && !tokenizer->is_special(id) && id != config.data.end_of_document;
    bytes.push_back(is_text ? static_cast<std::int32_t>(tokenizer->decode({id}).size()) : 0);
  }
  return bytes;
}

}  // namespace artel
