#include "tokenizer/bpe_trainer.h"

#include <algorithm>
#include <queue>

#include "tokenizer/byte_level.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

using Pair = std::pair<int32_t, int32_t>;

struct PairHash {
  size_t operator()(const Pair& pair) const {
    const uint64_t key =
        (static_cast<uint64_t>(static_cast<uint32_t>(pair.first)) << 32) | static_cast<uint32_t>(pair.second);
    const uint64_t mixed = key * 0x9E3779B97F4A7C15U;
    return mixed ^ (mixed >> 32);
  }
};

struct Word {
  size_t begin = 0;  // of its symbols
  size_t size = 0;
  int64_t count = 0;
};

struct PairInfo {
  int64_t count = 0;
  std::vector<uint32_t> words;  // that have, or had, the pair; some several times
};

struct Candidate {
  int64_t count;
  Pair pair;
  // std::priority_queue has the greatest on top: the highest count, of equals the lowest ids.
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

// Words as symbols, the counts of neighbouring pairs, and a queue of the pairs by count. Entries of the queue may be
// out of date: a count that fell is looked up when its entry comes up, one that rose is entered again.
class Merger {
 public:
  Merger(const WordCounts& counts, const std::vector<int32_t>& byte_ids);

  // The pair to be merged next and its count; a count of 0: none is left.
  Candidate next();
  void merge(Pair pair, int32_t merged);

 private:
  void change(Pair pair, int64_t by, uint32_t word);
  void merge_in(uint32_t index, Pair pair, int32_t merged);

  std::vector<int32_t> symbols_;
  std::vector<Word> words_;
  std::unordered_map<Pair, PairInfo, PairHash> pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> risen_;  // since the last merge; some several times
};

Merger::Merger(const WordCounts& counts, const std::vector<int32_t>& byte_ids) {
  std::vector<const WordCounts::value_type*> sorted;
  for (const auto& entry : counts) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
  if (sorted.size() > 0xFFFFFFFFU) fail("tokenizer", "required less than 2^32 different words, found more");
  for (const auto* entry : sorted) {
    const auto index = static_cast<uint32_t>(words_.size());
    words_.push_back({symbols_.size(), entry->first.size(), entry->second});
    for (size_t i = 0; i < entry->first.size(); ++i) {
      symbols_.push_back(byte_ids[static_cast<unsigned char>(entry->first[i])]);
      if (i > 0) change({symbols_[symbols_.size() - 2], symbols_.back()}, entry->second, index);
    }
  }
  for (const auto& [pair, info] : pairs_) queue_.push({info.count, pair});
}

void Merger::change(Pair pair, int64_t by, uint32_t word) {
  PairInfo& info = pairs_[pair];
  info.count += by;
  if (by < 0) return;
  if (info.words.empty() || info.words.back() != word) info.words.push_back(word);
}

Candidate Merger::next() {
  while (!queue_.empty()) {
    Candidate top = queue_.top();
    queue_.pop();
    const auto found = pairs_.find(top.pair);
    const int64_t count = found == pairs_.end() ? 0 : found->second.count;
    if (count < 1) continue;
    if (count == top.count) return top;
    if (count < top.count) queue_.push({count, top.pair});
  }
  return {0, {0, 0}};
}

void Merger::merge(Pair pair, int32_t merged) {
  PairInfo info = std::move(pairs_[pair]);
  std::sort(info.words.begin(), info.words.end());
  info.words.erase(std::unique(info.words.begin(), info.words.end()), info.words.end());
  for (const uint32_t word : info.words) merge_in(word, pair, merged);
  pairs_.erase(pair);
  std::sort(risen_.begin(), risen_.end());
  risen_.erase(std::unique(risen_.begin(), risen_.end()), risen_.end());
  for (const Pair& risen : risen_) {
    const auto found = pairs_.find(risen);
    if (found != pairs_.end() && found->second.count > 0) queue_.push({found->second.count, risen});
  }
  risen_.clear();
}

// Writes the symbols behind one another again, pairs merged from the left.
void Merger::merge_in(uint32_t index, Pair pair, int32_t merged) {
  Word& word = words_[index];
  int32_t* symbols = symbols_.data() + word.begin;
  size_t size = 0;
  const auto change_pair = [&](Pair changed, int64_t by) {
    if (changed != pair) change(changed, by, index);
    if (by > 0) risen_.push_back(changed);
  };
  for (size_t i = 0; i < word.size; ++size) {
    if (i + 1 >= word.size || Pair(symbols[i], symbols[i + 1]) != pair) {
      symbols[size] = symbols[i++];
      continue;
    }
    if (size > 0) {
      change_pair({symbols[size - 1], pair.first}, -word.count);
      change_pair({symbols[size - 1], merged}, word.count);
    }
    if (i + 2 < word.size) {
      change_pair({pair.second, symbols[i + 2]}, -word.count);
      change_pair({merged, symbols[i + 2]}, word.count);
    }
    symbols[size] = merged;
    i += 2;
  }
  word.size = size;
}

}  // namespace

TrainedBpe train_bpe(const WordCounts& counts, const BpeTrainingOptions& options) {
  check_training_options(options);
  TrainedBpe bpe;
  bpe.tokens = options.special_tokens;
  std::vector<std::pair<char32_t, int>> characters;
  for (int byte = 0; byte < 256; ++byte)
    characters.emplace_back(byte_code_point(static_cast<unsigned char>(byte)), byte);
  std::sort(characters.begin(), characters.end());
  std::vector<int32_t> byte_ids(256);
  TokenIds ids;
  for (const auto& [character, byte] : characters) {
    byte_ids[static_cast<size_t>(byte)] = static_cast<int32_t>(bpe.tokens.size());
    bpe.tokens.emplace_back(1, static_cast<char>(byte));
    ids.emplace(bpe.tokens.back(), static_cast<int32_t>(bpe.tokens.size() - 1));
  }
  // A token of text that is written like a special one would share its place in the file's vocabulary.
  for (size_t i = 0; i < options.special_tokens.size(); ++i) {
    const std::optional<std::string> bytes = bytes_of_characters(options.special_tokens[i]);
    if (bytes) ids.emplace(*bytes, static_cast<int32_t>(i));
  }

  Merger merger(counts, byte_ids);
  while (static_cast<int64_t>(bpe.tokens.size()) < options.vocab_size) {
    const Candidate top = merger.next();
    if (top.count < std::max<int64_t>(options.min_frequency, 1)) break;
    std::string token =
        bpe.tokens[static_cast<size_t>(top.pair.first)] + bpe.tokens[static_cast<size_t>(top.pair.second)];
    const auto [found, is_new] = ids.try_emplace(token, static_cast<int32_t>(bpe.tokens.size()));
    if (is_new) bpe.tokens.push_back(std::move(token));
    bpe.merges.push_back(top.pair);
    merger.merge(top.pair, found->second);
  }
  return bpe;
}

}  // namespace artel
