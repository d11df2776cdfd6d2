#include "train/tensorboard.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "train/event_file.h"
#include "util/host.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr std::string_view name_start = "events.out.tfevents.";

// The time in an event file's name; -1 for other files.
std::int64_t time_in_name(std::string_view name) {
  std::int64_t time = -1;
  if (name.starts_with(name_start)) {
    std::from_chars(name.data() + name_start.size(), name.data() + name.size(), time);
  }
  return time;
}

std::string layer_tag(const std::string& name, std::int64_t layer) {
  return concat(name, layer < 10 ? "/layer_0" : "/layer_", layer);
}

void add_layer(SummaryEvent& event, const Json& layer_row) {
  const auto layer = json_value<std::int64_t>(layer_row, "layer", "metrics");
  for (const auto& [key, value] : layer_row.items()) {
    if (key == "load") {
      event.add_histogram(layer_tag("expert_load", layer), expert_histogram(value.get<std::vector<std::int64_t>>()));
    } else if (value.is_number() && key != "layer") {
      event.add_scalar(layer_tag(key, layer), value.get<float>());
    }
  }
}

SummaryEvent event_of(const Json& row, double wall_time) {
  SummaryEvent event(wall_time, json_value<std::int64_t>(row, "step", "metrics"));
  for (const auto& [key, value] : row.items()) {
    if (key == "sets") {
      for (const auto& [name, loss] : value.items()) event.add_scalar("val_loss/" + name, loss.get<float>());
    } else if (key == "moe") {
      for (const Json& layer_row : value) add_layer(event, layer_row);
    } else if (value.is_number() && key != "step" && key != "tokens" && key != "seconds" && key != "attempt") {
      event.add_scalar(key, value.get<float>());
    }
  }
  return event;
}

}  // namespace

TensorBoardFile::Clock TensorBoardFile::system_clock() {
  return [] { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); };
}

TensorBoardFile::TensorBoardFile(FileLayer& files, std::string directory, std::int64_t first_step, Clock clock)
    : files_(files),
      directory_(std::move(directory)),
      first_step_(first_step),
      clock_(std::move(clock)),
      file_(-1, "") {}

void TensorBoardFile::open_next_file() {
  files_.make_directory(directory_);
  auto time = static_cast<std::int64_t>(clock_());
  for (const std::string& name : files_.list(directory_)) time = std::max(time, time_in_name(name) + 1);
  file_ = files_.open_write(join_path(directory_, concat(name_start, time, '.', host_name())));
}

void TensorBoardFile::append(const std::string& record) {
  if (file_.is_open()) return files_.write(file_, record.data(), record.size());
  open_next_file();
  std::string bytes = version_record(clock_());
  if (!started_) bytes += start_record(clock_(), first_step_);
  bytes += record;
  try {
    files_.write(file_, bytes.data(), bytes.size());
  } catch (const Error&) {
    files_.remove(file_.path());  // it holds nothing, and the next row would leave another one
    throw;
  }
  started_ = true;
}

std::string TensorBoardFile::write(const Json& row) {
  if (row.contains("event")) return {};
  const SummaryEvent event = event_of(row, clock_());
  if (event.empty()) return {};
  try {
    append(event.record());
    failing_ = false;
    return {};
  } catch (const Error& error) {
    // A record that was cut short hides all that follows it in its file: the next row begins another.
    file_ = OutputFile(-1, "");
    return std::exchange(failing_, true) ? std::string() : error.what();
  }
}

}  // namespace artel
