#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "data/megatron_order.h"
#include "data/sampler.h"
#include "data/token_file.h"

namespace artel {

// Legend: B samples in a batch, S = seq_len positions, V = vocab_size.

/// One token file, or the shards that match a pattern, to read samples from.
struct DataSource {
  std::string path;
  double weight = 1.0;         ///< its share of the samples, relative to the other sources
  std::string dtype = "auto";  ///< auto | uint8 | uint16 | uint32
};

/// What the ids of all sources of one reader mean.
struct DataOptions {
  int64_t seq_len = 0;           ///< S; a sample is a window of S + 1 ids
  int64_t vocab_size = 0;        ///< V; an id outside [0, V) is an error
  int64_t num_ids = 0;           ///< of the tokenizer, for `dtype: auto` without a header; 0: vocab_size
  bool document_mask = false;    ///< batches say where documents begin
  int32_t end_of_document = -1;  ///< last id of a document, for files without bounds of their own; -1: not known
  bool megatron_order = false;   ///< of training samples: that of Megatron-core instead of Sampler's
  int64_t num_samples = 0;       ///< of the whole run, which Megatron-core's order depends on
};

/// Samples as the model reads them: targets[b][s] is the id after inputs[b][s].
struct Batch {
  int64_t num_samples = 0;       ///< B
  int64_t seq_len = 0;           ///< S
  std::vector<int32_t> inputs;   ///< [B, S]
  std::vector<int32_t> targets;  ///< [B, S]
  std::vector<Sample> samples;   ///< [B] where each row comes from
  /// [B, S] first position of the row that is of the same document; empty without document_mask.
  std::vector<int32_t> document_starts = {};
};

/// A token file cut into windows of S + 1 ids that do not overlap; window i begins at id i (S + 1), and what is left at
/// the end is dropped.
class WindowedFile {
 public:
  /// Throws Error when the file is bad (see TokenFile) or shorter than one window.
  WindowedFile(const DataSource& source, const DataOptions& options);

  int64_t num_windows() const { return file_.size() / (seq_len_ + 1); }
  const TokenStream& file() const { return file_; }
  /// inputs [S] = ids 0..S-1 of the window, targets [S] = its ids 1..S; document_starts [S] of the inputs, or null.
  /// 0 <= window < num_windows().
  void read(int64_t window, int32_t* inputs, int32_t* targets, int32_t* document_starts = nullptr) const;

 private:
  TokenStream file_;
  int64_t seq_len_;
  int32_t end_of_document_;
  std::vector<int64_t> document_bounds_;  // where documents begin in the file, if it says so and it matters
};

/// Training samples by global index, in the order of Sampler or of Megatron-core. Rank r of a step takes a contiguous
/// slice of the step's samples; the caller says which. One background thread reads ahead on request. Called from one
/// thread at a time.
class DataLoader {
 public:
  /// Opens and checks every source. Throws Error naming the file.
  DataLoader(const std::vector<DataSource>& sources, const DataOptions& options, uint64_t seed);
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  /// Samples first .. first + count - 1 of the global order. Throws Error naming file and position for an id outside
  /// the vocabulary, whether it was met here or on the background thread.
  Batch load(int64_t first, int64_t count);
  /// The same into `batch`, whose memory is reused.
  void load(int64_t first, int64_t count, Batch& batch);

  /// Starts to read these samples in the background for the next load() of exactly the same range; a load() of another
  /// range discards them. Returns at once.
  void prefetch(int64_t first, int64_t count);

  int64_t num_sources() const { return static_cast<int64_t>(files_.size()); }
  const WindowedFile& source(int64_t index) const { return files_[static_cast<size_t>(index)]; }
  /// Whether a run of so many samples would meet the samples in the same order, as far as both go.
  bool has_order_of(int64_t num_samples) const { return !megatron_ || megatron_->has_order_of(num_samples); }
  /// Where a sample of the global order comes from.
  Sample sample(int64_t global_sample) const {
    return megatron_ ? megatron_->sample(global_sample) : sampler_->sample(global_sample);
  }

 private:
  enum class State { idle, requested, reading, ready };

  void fill(int64_t first, int64_t count, Batch& batch) const;
  // Row b of the batch: the window of ids that `sample` names in Megatron-core's order.
  void read_megatron(const Sample& sample, int64_t b, Batch& batch) const;
  void work();

  DataOptions options_;
  std::vector<WindowedFile> files_;
  std::unique_ptr<Sampler> sampler_;  // one of the two
  std::unique_ptr<MegatronOrder> megatron_;

  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  State state_ = State::idle;
  bool ending_ = false;
  int64_t ahead_first_ = 0;
  int64_t ahead_count_ = 0;
  Batch ahead_;  // owned by the background thread while reading
  std::exception_ptr ahead_error_;
  std::thread thread_;  // last: started when all else stands
};

/// A validation set: the windows of one file in their order.
class ValidationReader {
 public:
  /// Throws Error when the file is bad or shorter than one window.
  ValidationReader(const DataSource& source, const DataOptions& options);

  /// Windows in the file.
  int64_t num_windows() const { return file_.num_windows(); }
  /// Batches of `batch_size` windows to read: `batches`, or all (the last one may be smaller) when that is 0 or more
  /// than the file holds.
  int64_t num_batches(int64_t batches, int64_t batch_size) const;
  /// Windows first .. first + count - 1, cut at the end of the file, into `batch`, whose memory is reused.
  void read(int64_t first, int64_t count, Batch& batch) const;
  const std::string& path() const { return file_.file().path(); }

 private:
  DataOptions options_;
  WindowedFile file_;
};

}  // namespace artel
