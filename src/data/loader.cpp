#include "data/loader.h"

#include <algorithm>
#include <utility>

#include "data/document_starts.h"
#include "data/megatron_index.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

std::vector<WindowedFile> open_all(const std::vector<DataSource>& sources, const DataOptions& options) {
  std::vector<WindowedFile> files;
  files.reserve(sources.size());
  for (const DataSource& source : sources) files.emplace_back(source, options);
  return files;
}

std::unique_ptr<Sampler> make_sampler(const std::vector<WindowedFile>& files, const std::vector<DataSource>& sources,
                                      uint64_t seed) {
  std::vector<int64_t> num_windows;
  std::vector<double> weights;
  for (const WindowedFile& file : files) num_windows.push_back(file.num_windows());
  for (const DataSource& source : sources) weights.push_back(source.weight);
  return std::make_unique<Sampler>(std::move(num_windows), weights, seed);
}

std::unique_ptr<MegatronOrder> make_megatron_order(const std::vector<WindowedFile>& files,
                                                   const std::vector<DataSource>& sources, const DataOptions& options,
                                                   uint64_t seed) {
  std::vector<std::vector<int64_t>> sequence_starts;
  std::vector<double> weights;
  for (size_t i = 0; i < files.size(); ++i) {
    const std::vector<TokenFile>& shards = files[i].file().files();
    if (shards.size() != 1 || shards[0].layout().format != TokenFormat::megatron) {
      fail("data",
           concat("data.order: megatron required a Megatron data set (.bin and .idx) in ", sources[i].path, ", found ",
                  shards.size() != 1 ? concat(shards.size(), " files")
                                     : concat("format ", token_format_name(shards[0].layout().format))));
    }
    sequence_starts.push_back(MegatronIndex(shards[0].layout().bounds_path).sequence_starts());
    weights.push_back(sources[i].weight);
  }
  return std::make_unique<MegatronOrder>(std::move(sequence_starts), std::move(weights), options.seq_len,
                                         options.num_samples, static_cast<int64_t>(seed));
}

void resize(Batch& batch, int64_t num_samples, const DataOptions& options) {
  const int64_t seq_len = options.seq_len;
  batch.num_samples = num_samples;
  batch.seq_len = seq_len;
  batch.document_starts.resize(options.document_mask ? static_cast<size_t>(num_samples * seq_len) : 0);
  batch.inputs.resize(static_cast<size_t>(num_samples * seq_len));
  batch.targets.resize(static_cast<size_t>(num_samples * seq_len));
  batch.samples.resize(static_cast<size_t>(num_samples));
}

// Row b of the batch.
void read_row(const WindowedFile& file, int64_t window, int64_t b, Batch& batch) {
  const int64_t at = b * batch.seq_len;
  file.read(window, batch.inputs.data() + at, batch.targets.data() + at,
            batch.document_starts.empty() ? nullptr : batch.document_starts.data() + at);
}

void check_range(int64_t first, int64_t count) {
  if (first < 0 || count < 1) {
    fail("data", concat("required at least 1 sample from index 0 on, found ", count, " from index ", first));
  }
}

}  // namespace

WindowedFile::WindowedFile(const DataSource& source, const DataOptions& options)
    : file_(source.path, source.dtype, options.vocab_size, options.num_ids),
      seq_len_(options.seq_len),
      end_of_document_(options.end_of_document) {
  if (seq_len_ < 1) fail("data", concat("sequence length required 1 or more, found ", seq_len_));
  if (file_.size() <= seq_len_) {
    fail("data", concat(source.path, ": required at least one window of ", seq_len_ + 1, " ids (sequence length ",
                        seq_len_, " + 1), found a file that ends at position ", file_.size()));
  }
  if (!options.document_mask) return;
  if (file_.has_documents()) {
    document_bounds_ = file_.document_starts();
  } else if (end_of_document_ < 0) {
    fail("data", concat(source.path,
                        ": data.document_mask required bounds of documents beside the ids or the id that "
                        "ends a document, found neither; set data.end_of_document or data.tokenizer"));
  }
}

void WindowedFile::read(int64_t window, int32_t* inputs, int32_t* targets, int32_t* document_starts) const {
  const int64_t begin = window * (seq_len_ + 1);
  file_.read(begin, seq_len_, inputs);
  std::copy(inputs + 1, inputs + seq_len_, targets);
  file_.read(begin + seq_len_, 1, targets + seq_len_ - 1);
  if (document_starts == nullptr) return;
  if (document_bounds_.empty()) {
    document_starts_by_id(inputs, seq_len_, end_of_document_, document_starts);
  } else {
    document_starts_by_bounds(document_bounds_, begin, seq_len_, document_starts);
  }
}

DataLoader::DataLoader(const std::vector<DataSource>& sources, const DataOptions& options, uint64_t seed)
    : options_(options),
      files_(open_all(sources, options)),
      sampler_(options.megatron_order ? nullptr : make_sampler(files_, sources, seed)),
      megatron_(options.megatron_order ? make_megatron_order(files_, sources, options, seed) : nullptr),
      thread_([this] { work(); }) {}

DataLoader::~DataLoader() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Batch DataLoader::load(int64_t first, int64_t count) {
  Batch batch;
  load(first, count, batch);
  return batch;
}

void DataLoader::load(int64_t first, int64_t count, Batch& batch) {
  check_range(first, count);
  {
    std::unique_lock<std::mutex> lock(mutex_);
    const bool matches = state_ != State::idle && ahead_first_ == first && ahead_count_ == count;
    if (state_ == State::requested && !matches) state_ = State::idle;
    changed_.wait(lock, [this] { return state_ == State::idle || state_ == State::ready; });
    const std::exception_ptr error = std::exchange(ahead_error_, nullptr);
    state_ = State::idle;
    if (matches) {
      if (error != nullptr) std::rethrow_exception(error);
      std::swap(batch, ahead_);
      return;
    }
  }
  fill(first, count, batch);
}

void DataLoader::prefetch(int64_t first, int64_t count) {
  check_range(first, count);
  {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return state_ != State::reading; });
    ahead_first_ = first;
    ahead_count_ = count;
    ahead_error_ = nullptr;
    state_ = State::requested;
  }
  changed_.notify_all();
}

void DataLoader::fill(int64_t first, int64_t count, Batch& batch) const {
  resize(batch, count, options_);
  for (int64_t b = 0; b < count; ++b) {
    const Sample from = sample(first + b);
    batch.samples[static_cast<size_t>(b)] = from;
    if (megatron_) {
      read_megatron(from, b, batch);
    } else {
      read_row(files_[static_cast<size_t>(from.source)], from.window, b, batch);
    }
  }
}

void DataLoader::read_megatron(const Sample& from, int64_t b, Batch& batch) const {
  const int64_t length = options_.seq_len;
  const TokenStream& file = files_[static_cast<size_t>(from.source)].file();
  std::vector<int32_t> ids(static_cast<size_t>(length + 1));
  int64_t at = 0;
  megatron_->source(from.source).for_each_run(from.window, [&](int64_t position, int64_t count) {
    file.read(position, count, ids.data() + at);
    if (options_.document_mask) {  // every run is a document, or the rest of one
      int32_t* starts = batch.document_starts.data() + b * length;
      std::fill(starts + at, starts + std::min(at + count, length), static_cast<int32_t>(at));
    }
    at += count;
  });
  std::copy_n(ids.begin(), length, batch.inputs.begin() + b * length);
  std::copy_n(ids.begin() + 1, length, batch.targets.begin() + b * length);
}

void DataLoader::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || state_ == State::requested; });
    if (ending_) return;
    state_ = State::reading;
    const int64_t first = ahead_first_;
    const int64_t count = ahead_count_;
    lock.unlock();
    std::exception_ptr error;
    try {
      fill(first, count, ahead_);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    ahead_error_ = error;
    state_ = State::ready;
    changed_.notify_all();
  }
}

ValidationReader::ValidationReader(const DataSource& source, const DataOptions& options)
    : options_(options), file_(source, options) {}

int64_t ValidationReader::num_batches(int64_t batches, int64_t batch_size) const {
  if (batches < 0 || batch_size < 1) {
    fail("data", concat("required 0 or more batches of at least 1 window, found ", batches, " of ", batch_size));
  }
  const int64_t all = (num_windows() + batch_size - 1) / batch_size;
  return batches == 0 ? all : std::min(batches, all);
}

void ValidationReader::read(int64_t first, int64_t count, Batch& batch) const {
  check_range(first, count);
  const int64_t end = std::min(first + count, num_windows());
  if (first >= end) {
    fail("data", concat(path(), ": required a window below ", num_windows(), ", found window ", first));
  }
  resize(batch, end - first, options_);
  for (int64_t window = first; window < end; ++window) {
    const int64_t b = window - first;
    batch.samples[static_cast<size_t>(b)] = {0, 0, window};
    read_row(file_, window, b, batch);
  }
}

}  // namespace artel
