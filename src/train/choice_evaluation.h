#pragma once

#include <optional>
#include <vector>

#include "data/choice_task.h"
#include "train/evaluation.h"
#include "util/json.h"

namespace artel {

/// Shares of the examples whose right completion the model finds likelier than the others, by three measures of
/// likely: the sum of the log-probabilities of its tokens, that sum per token, and per byte of its text.
struct ChoiceScores {
  std::int64_t num_examples = 0;
  double accuracy = 0.0;
  double accuracy_per_token = 0.0;
  std::optional<double> accuracy_per_byte;  ///< none: the texts are not known
};

/// Log-probability of every completion behind its context, summed over its tokens: those of the first example, then
/// those of the second, and so on. Without gradients, the same on every rank; options.batches and batch_size are not
/// used. Of an example longer than max_position_embeddings the beginning of the context is left out; of one with
/// options.document_end in it the model sees a document at a time. Every rank calls it. Errors: a completion longer
/// than the model's sequences.
std::vector<double> choice_log_probabilities(Context& context, Transformer& model, const ChoiceTask& task,
                                             const EvaluationOptions& options);

/// What the model gets right by choice_log_probabilities, whose errors it has.
ChoiceScores evaluate_choices(Context& context, Transformer& model, const ChoiceTask& task,
                              const EvaluationOptions& options);

/// {"examples", "accuracy", "accuracy_per_token", "accuracy_per_byte"}, the last one only where it is known.
Json choice_scores_json(const ChoiceScores& scores);

/// Texts by the tokenizer of the config; empty functions when it is not in this build or has not the model's ids.
TaskText task_text(const Config& config);

/// Bytes of the text of every id by the tokenizer of the config, 0 for special tokens, for the id that ends a document
/// (the tokenizer's and data.end_of_document) and for numbers that no token has; empty where task_text is.
std::vector<std::int32_t> bytes_of_ids(const Config& config);

}  // namespace artel
