#include "model/generate.h"

#include <algorithm>

#include "core/rng.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

std::int64_t cache_capacity(const ModelConfig& model, std::int64_t text_length) {
  return std::min(text_length, model.max_position_embeddings);
}

/// Reads a text that grows.
class TextReader {
 public:
  TextReader(Context& context, Transformer& model, std::int64_t text_length, std::optional<std::int32_t> document_end)
      : context_(context),
        model_(model),
        document_end_(document_end),
        cache_(model.make_cache(context, cache_capacity(model.config(), text_length))) {}

  /// Logits [V] of the id that follows `text`, of whose last document the model sees the last part that fits. `text`
  /// begins with that of the call before.
  std::vector<float> next_logits(const std::vector<std::int32_t>& text) {
    const auto length = static_cast<std::int64_t>(text.size());
    const std::int64_t window = model_.config().max_position_embeddings;
    if (const std::int64_t begin = document_begin(text); begin != begin_) {
      begin_ = begin;
      cache_.clear();
    }
    const Tensor logits = length - begin_ <= window
                              ? model_.next_logits(context_, ids_of(text, begin_ + cache_.length()), cache_)
                              : model_.next_logits(context_, ids_of(text, length - window));
    std::vector<float> values(static_cast<std::size_t>(logits.numel()));
    context_.backend.download(logits, values.data());
    return values;
  }

 private:
  // Where the document of the last id begins.
  std::int64_t document_begin(const std::vector<std::int32_t>& text) const {
    std::int64_t begin = static_cast<std::int64_t>(text.size()) - 1;
    while (begin > 0 && !(document_end_ && text[static_cast<std::size_t>(begin) - 1] == *document_end_)) --begin;
    return begin;
  }
  Tensor ids_of(const std::vector<std::int32_t>& text, std::int64_t begin) {
    Tensor ids = context_.empty({static_cast<std::int64_t>(text.size()) - begin}, DType::i32);
    context_.backend.upload(text.data() + begin, ids);
    return ids;
  }

  Context& context_;
  Transformer& model_;
  std::optional<std::int32_t> document_end_;
  std::int64_t begin_ = 0;  // of the document that the cache holds
  KvCache cache_;
};

}  // namespace

void check_prompt(const std::vector<std::int32_t>& prompt, std::int64_t vocab_size) {
  if (prompt.empty()) fail("generate", "required a prompt of at least one token, found none");
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    if (prompt[i] < 0 || prompt[i] >= vocab_size) {
      fail("generate", concat("required prompt ids below the model's vocab_size of ", vocab_size, ", found ", prompt[i],
                              " at position ", i));
    }
  }
}

double sampling_number(std::uint64_t seed, std::int64_t position) {
  const auto words = Rng(seed, "generate").block(static_cast<std::uint64_t>(position));
  // 53 bits, as many as a double holds: an id of any probability that matters can be reached.
  return (static_cast<double>(words[0] >> 5) * 0x1p26 + static_cast<double>(words[1] >> 6)) * 0x1p-53;
}

std::int64_t cache_bytes(const ModelConfig& model, DType dtype, std::int64_t text_length) {
  return model.num_hidden_layers * cache_capacity(model, text_length) * 2 * model.num_key_value_heads * model.head_dim *
         static_cast<std::int64_t>(dtype_size(dtype));
}

std::vector<std::int32_t> generate(Context& context, Transformer& model, const std::vector<std::int32_t>& prompt,
                                   const GenerateOptions& options, const std::function<bool(std::int32_t)>& on_id) {
  check_sampling_options(options.sampling);
  check_prompt(prompt, model.config().vocab_size);
  std::vector<std::int32_t> text = prompt;
  TextReader reader(context, model, static_cast<std::int64_t>(prompt.size()) + options.num_tokens,
                    options.document_end);
  for (std::int64_t i = 0; i < options.num_tokens; ++i) {
    const double uniform = sampling_number(options.seed, static_cast<std::int64_t>(text.size()));
    const std::int32_t id = sample_id(reader.next_logits(text), options.sampling, uniform);
    if (options.stop_id && id == *options.stop_id) break;
    text.push_back(id);
    if (on_id && !on_id(id)) break;
  }
  text.erase(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(prompt.size()));
  return text;
}

}  // namespace artel
