#include "model/generate.h"

#include <algorithm>

#include "core/rng.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// Logits [V] of the id that follows `text`, of which the model sees the last part that fits.
std::vector<float> next_logits(Context& context, Transformer& model, const std::vector<std::int32_t>& text) {
  const auto length = std::min(static_cast<std::int64_t>(text.size()), model.config().max_position_embeddings);
  Tensor ids = context.empty({length}, DType::i32);
  context.backend.upload(text.data() + (static_cast<std::int64_t>(text.size()) - length), ids);
  const Tensor logits = model.next_logits(context, ids);
  std::vector<float> values(static_cast<std::size_t>(logits.numel()));
  context.backend.download(logits, values.data());
  return values;
}

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

std::vector<std::int32_t> generate(Context& context, Transformer& model, const std::vector<std::int32_t>& prompt,
                                   const GenerateOptions& options, const std::function<bool(std::int32_t)>& on_id) {
  check_sampling_options(options.sampling);
  check_prompt(prompt, model.config().vocab_size);
  std::vector<std::int32_t> text = prompt;
  for (std::int64_t i = 0; i < options.num_tokens; ++i) {
    const double uniform = sampling_number(options.seed, static_cast<std::int64_t>(text.size()));
    const std::int32_t id = sample_id(next_logits(context, model, text), options.sampling, uniform);
    if (options.stop_id && id == *options.stop_id) break;
    text.push_back(id);
    if (on_id && !on_id(id)) break;
  }
  text.erase(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(prompt.size()));
  return text;
}

}  // namespace artel
