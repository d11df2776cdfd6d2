#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace artel {

/// The bytes of TensorBoard's event files: protobuf messages (tensorboard/compat/proto/event.proto, summary.proto) in
/// the records of a TFRecord file.

/// One record: length, its masked CRC-32C, the data, their masked CRC-32C, all little-endian.
std::string tf_record(std::string_view data);

/// Counts over intervals of the x axis: bucket i is from limits[i - 1] (the first: `min`) to limits[i].
struct EventHistogram {
  double min = 0.0;
  double max = 0.0;
  double num = 0.0;          ///< of values
  double sum = 0.0;          ///< of values
  double sum_squares = 0.0;  ///< of values
  std::vector<double> limits;
  std::vector<double> counts;
};

/// How often every expert was chosen, with expert i from i to i + 1.
EventHistogram expert_histogram(const std::vector<std::int64_t>& load);

/// Scalars and histograms of one step, written as one event. Wall times are seconds since 1970.
class SummaryEvent {
 public:
  SummaryEvent(double wall_time, std::int64_t step) : wall_time_(wall_time), step_(step) {}

  void add_scalar(std::string_view tag, float value);
  void add_histogram(std::string_view tag, const EventHistogram& histogram);
  bool empty() const { return summary_.empty(); }
  /// The event as a record.
  std::string record() const;

 private:
  double wall_time_;
  std::int64_t step_;
  std::string summary_;
};

/// The first record of every event file.
std::string version_record(double wall_time);

/// Says that a program starts anew: readers forget what earlier files hold of `step` and later steps.
std::string start_record(double wall_time, std::int64_t step);

}  // namespace artel
