#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/bpe_model.h"
#include "tokenizer/tokenizer.h"

namespace artel {

/// How often each piece of text occurs.
using WordCounts = std::unordered_map<std::string, int64_t, TransparentHash, std::equal_to<>>;

struct BpeTrainingOptions {
  int64_t vocab_size = 32000;  ///< ids in all: special tokens, 256 bytes, merges
  int64_t min_frequency = 2;   ///< pairs that occur less often are not merged
  std::vector<std::string> special_tokens = {"<|endoftext|>"};
  std::string pattern = "gpt2";     ///< a name that find_json_pattern knows
  std::string normalizer = "none";  ///< none, nfc or nfkc
};

/// Throws Error naming the option when these cannot be trained with.
void check_training_options(const BpeTrainingOptions& options);

/// A byte-pair encoding; ids: special tokens, then bytes in the order of their characters (byte_level.h), then merges.
struct TrainedBpe {
  std::vector<std::string> tokens;                  ///< the bytes of each id
  std::vector<std::pair<int32_t, int32_t>> merges;  ///< in the order of their ranks
};

/// Counts the pieces of texts, as a tokenizer with these options cuts them, for one thread.
class WordCounter {
 public:
  explicit WordCounter(const BpeTrainingOptions& options);
  ~WordCounter();

  void add(std::string_view text);
  /// As Tokenizer::safe_cut.
  size_t safe_cut(std::string_view text) const;
  WordCounts& counts() { return counts_; }

 private:
  struct Splitter;
  std::unique_ptr<Splitter> splitter_;
  WordCounts counts_;
};

/// Byte-pair encoding of counted words: the pair that occurs most often is merged until there are enough tokens; of
/// equals the one with the lower ids. The outcome depends on the counts alone, and is that of the reference library's
/// trainer except where a token can be made in two ways.
TrainedBpe train_bpe(const WordCounts& counts, const BpeTrainingOptions& options);

/// A `tokenizer.json` that the reference library reads.
std::string tokenizer_json_of(const TrainedBpe& bpe, const BpeTrainingOptions& options);

}  // namespace artel
