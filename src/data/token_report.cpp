#include "data/token_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace artel {
namespace {

constexpr int64_t ids_at_once = int64_t{1} << 18;
constexpr size_t max_out_of_range = 8;

/// Collects how many documents there are of each length.
class LengthCounter {
 public:
  void add(int64_t length) {
    ++counts_[length];
    ++count_;
    sum_ += static_cast<double>(length);
  }

  DocumentLengths lengths() const {
    if (count_ == 0) return {};
    return {count_,        counts_.begin()->first, counts_.rbegin()->first, sum_ / static_cast<double>(count_),
            quantile(0.5), quantile(0.9),          quantile(0.99)};
  }

 private:
  int64_t quantile(double share) const {
    const auto wanted = static_cast<int64_t>(std::ceil(share * static_cast<double>(count_)));
    int64_t seen = 0;
    for (const auto& [length, count] : counts_) {
      seen += count;
      if (seen >= wanted) return length;
    }
    return counts_.rbegin()->first;
  }

  std::map<int64_t, int64_t> counts_;
  int64_t count_ = 0;
  double sum_ = 0.0;
};

/// Looks at the ids of a file from front to back.
class Scanner {
 public:
  Scanner(const TokenFile& file, const TokenReportOptions& options)
      : file_(file),
        options_(options),
        vocab_size_(options.vocab_size > 0 ? options.vocab_size : std::numeric_limits<int64_t>::max()) {
    report_.smallest_id = std::numeric_limits<int64_t>::max();
    report_.largest_id = std::numeric_limits<int64_t>::min();
  }

  TokenReport scan() {
    const bool by_bounds = file_.has_documents();
    const bool by_id = !by_bounds && options_.end_of_document.has_value();
    std::vector<int64_t> ids(static_cast<size_t>(std::min(ids_at_once, file_.size())));
    if (by_id) begin_document(0);
    for (int64_t begin = 0; begin < file_.size(); begin += ids_at_once) {
      const int64_t count = std::min(ids_at_once, file_.size() - begin);
      file_.read_any(begin, count, ids.data());
      look_at(ids.data(), begin, count);
      for (int64_t i = 0; by_id && i < count; ++i) {
        if (ids[static_cast<size_t>(i)] == *options_.end_of_document) begin_document(begin + i + 1);
      }
    }
    if (by_bounds) {
      for (const int64_t start : file_.document_starts()) begin_document(start);
    } else if (by_id && document_begin_ < file_.size()) {
      begin_document(file_.size());  // the last document has no end
    }
    if (by_bounds || by_id) {
      report_.documents = lengths_.lengths();
    } else {
      for (int64_t i = 0; i < options_.num_samples; ++i) take_sample(place(i), file_.size());
    }
    return std::move(report_);
  }

 private:
  void look_at(const int64_t* ids, int64_t begin, int64_t count) {
    const auto [smallest, largest] = std::minmax_element(ids, ids + count);
    report_.smallest_id = std::min(report_.smallest_id, *smallest);
    report_.largest_id = std::max(report_.largest_id, *largest);
    if (*smallest >= 0 && *largest < vocab_size_) return;
    for (int64_t i = 0; i < count; ++i) {
      if (ids[i] >= 0 && ids[i] < vocab_size_) continue;
      ++report_.num_out_of_range;
      if (report_.out_of_range.size() < max_out_of_range) report_.out_of_range.emplace_back(begin + i, ids[i]);
    }
  }

  // The next document begins at `position`, where the one before ends.
  void begin_document(int64_t position) {
    if (document_begin_ >= 0) {
      lengths_.add(position - document_begin_);
      if (num_samples_ < options_.num_samples && place(num_samples_) < position) {
        take_sample(document_begin_, position);
        while (num_samples_ < options_.num_samples && place(num_samples_) < position) ++num_samples_;
      }
    }
    document_begin_ = position;
  }

  // Where the i-th sample is: it begins with the document there.
  int64_t place(int64_t i) const {
    return static_cast<int64_t>(static_cast<double>(i) / static_cast<double>(options_.num_samples) *
                                static_cast<double>(file_.size()));
  }

  void take_sample(int64_t begin, int64_t end) {
    TokenSample sample{begin, {}};
    sample.ids.resize(static_cast<size_t>(std::min(end - begin, options_.sample_tokens)));
    file_.read_any(begin, static_cast<int64_t>(sample.ids.size()), sample.ids.data());
    report_.samples.push_back(std::move(sample));
  }

  const TokenFile& file_;
  const TokenReportOptions& options_;
  int64_t vocab_size_;
  TokenReport report_;
  LengthCounter lengths_;
  int64_t document_begin_ = -1;
  int64_t num_samples_ = 0;
};

}  // namespace

TokenReport report_tokens(const TokenFile& file, const TokenReportOptions& options) {
  return Scanner(file, options).scan();
}

}  // namespace artel
