#include "train/validation_sample.h"

#include "train/evaluation.h"
#include "util/error.h"
#include "util/text.h"
#include "util/utf8.h"

namespace artel {

ValidationSample::ValidationSample(const Config& config, Log& log) : prompt_text_(config.validation.sample_prompt) {
  if (config.validation.sample_tokens == 0 || config.validation.every == 0 || config.data.validation.empty()) return;
  if (!is_known_tokenizer(config.data.tokenizer)) {
    log.info(concat("no samples after validations: the tokenizer ", config.data.tokenizer, " is not there"));
    return;
  }
  std::unique_ptr<Tokenizer> tokenizer;
  try {
    tokenizer = make_tokenizer(config.data.tokenizer);
  } catch (const Error& error) {  // training itself does without
    log.warn(concat("no samples after validations: ", error.what()));
    return;
  }
  if (config.model.vocab_size < tokenizer->num_ids()) {
    log.info(concat("no samples after validations: the tokenizer has ", tokenizer->num_ids(),
                    " ids and the model's vocabulary ", config.model.vocab_size));
    return;
  }
  prompt_ = tokenizer->encode(prompt_text_);
  if (prompt_.empty() && !tokenizer->has_end_of_document()) {
    log.info("no samples after validations: the prompt is empty, and the tokenizer has no end-of-document token");
    return;
  }
  if (prompt_.empty()) prompt_ = {tokenizer->end_of_document()};  // what stands before the next document
  options_.num_tokens = config.validation.sample_tokens;
  options_.seed = static_cast<std::uint64_t>(config.run.seed);
  options_.sampling.num_ids = tokenizer->num_ids();
  options_.sampling.missing_ids = tokenizer->missing_ids();
  if (tokenizer->has_end_of_document()) options_.stop_id = tokenizer->end_of_document();
  options_.document_end = masked_document_end(config);
  tokenizer_ = std::move(tokenizer);
}

std::string ValidationSample::make(Context& context, Transformer& model, Log& log) const {
  if (!tokenizer_) return {};
  try {
    return escape_text(prompt_text_ + tokenizer_->decode(generate(context, model, prompt_, options_)));
  } catch (const Error& error) {  // a text to look at must not end a run
    log.warn(concat("no sample: ", error.what()));
    return {};
  }
}

}  // namespace artel
