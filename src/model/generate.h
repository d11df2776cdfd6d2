#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "model/sampling.h"
#include "model/transformer.h"

namespace artel {

struct GenerateOptions {
  std::int64_t num_tokens = 128;  ///< at most so many new ids
  std::uint64_t seed = 0;
  SamplingOptions sampling;
  std::optional<std::int32_t> stop_id;  ///< ends the text and is not part of it
  /// Ends a document, for a model that was trained within documents: behind it the model sees nothing of what stands
  /// before, and counts positions anew.
  std::optional<std::int32_t> document_end = {};
};

/// Errors: a prompt without ids, or with one that is not below `vocab_size`, naming id and position.
void check_prompt(const std::vector<std::int32_t>& prompt, std::int64_t vocab_size);

/// The number in [0, 1) that chooses the id at `position` (prompt included) of a text. A function of seed and position
/// alone, so that equal seeds give equal text on any number of threads and a text can be continued.
double sampling_number(std::uint64_t seed, std::int64_t position);

/// Bytes of the keys and values that generate() keeps for a text of so many ids, prompt included.
std::int64_t cache_bytes(const ModelConfig& model, DType dtype, std::int64_t text_length);

/// Continues `prompt` and returns the new ids; `on_id` sees each as soon as it is known and may end the text by
/// returning false. The model sees the last max_position_embeddings ids of the document. As long as that is all of it
/// their keys and values are kept, and an id costs a pass over one token. Behind that every id moves the positions of
/// all others, and costs a pass over max_position_embeddings tokens. Errors: options out of range, a prompt that
/// check_prompt refuses, logits that are not finite.
std::vector<std::int32_t> generate(Context& context, Transformer& model, const std::vector<std::int32_t>& prompt,
                                   const GenerateOptions& options, const std::function<bool(std::int32_t)>& on_id = {});

}  // namespace artel
