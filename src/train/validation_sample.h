#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/schema.h"
#include "model/generate.h"
#include "tokenizer/tokenizer.h"
#include "util/log.h"

namespace artel {

/// The short text that a run makes after each validation, so that a reader of the log sees what the model says. Reads
/// the model and changes nothing: training has the same bits with and without it. The choices depend on run.seed alone,
/// so that the samples of one run, and of runs with one seed, differ by their models only.
class ValidationSample {
 public:
  /// Says in the log why there will be no samples although validation.sample_tokens asks for them: the tokenizer is not
  /// there or not supported, or the vocabulary is smaller than the tokenizer's.
  ValidationSample(const Config& config, Log& log);

  /// The prompt and what the model makes of it, on one line as escape_text writes it. Empty: no samples, or logits that
  /// are not finite, of which the log is told.
  std::string make(Context& context, Transformer& model, Log& log) const;

 private:
  std::unique_ptr<Tokenizer> tokenizer_;  // none: no samples
  std::vector<std::int32_t> prompt_;
  std::string prompt_text_;
  GenerateOptions options_;
};

}  // namespace artel
