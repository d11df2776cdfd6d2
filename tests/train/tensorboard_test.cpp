#include "train/tensorboard.h"

#include <map>
#include <vector>

#include "support/catch.h"
#include "support/event_reader.h"
#include "support/failing_file_layer.h"
#include "support/temporary_directory.h"

using namespace artel;

namespace {

Json training_row(std::int64_t step) {
  Json row;
  row["step"] = step;
  row["tokens"] = step * 64;
  row["loss"] = 8.0 / static_cast<double>(step);
  row["lr"] = 0.25;
  row["seconds"] = 1.5;
  row["moe"] = Json::array();
  row["moe"].push_back({{"layer", 0}, {"max_violation", 0.5}, {"dead_experts", 1}, {"load", {3, 0, 1}}});
  row["moe"].push_back({{"layer", 11}, {"max_violation", 0.75}, {"dead_experts", 0}});
  return row;
}

// What a reader shows: the files in the order of their names, a start making it forget its step and those after it.
std::map<std::string, std::vector<std::int64_t>> shown_steps(const std::string& directory) {
  PosixFileLayer files;
  std::map<std::string, std::vector<std::int64_t>> shown;
  for (const std::string& name : files.list(directory)) {
    const std::string bytes = files.read(join_path(directory, name));
    const auto events = EventReader::read(bytes);
    REQUIRE_FALSE(events.empty());
    CHECK(events[0].version == "brain.Event:2");
    for (const ReadEvent& event : events) {
      if (event.start) {
        for (auto& [tag, steps] : shown) std::erase_if(steps, [&](std::int64_t step) { return step >= event.step; });
      }
      for (const auto& [tag, value] : event.scalars) shown[tag].push_back(event.step);
      for (const auto& [tag, value] : event.histograms) shown[tag].push_back(event.step);
    }
  }
  return shown;
}

}  // namespace

TEST_CASE("Every number of a row becomes a scalar, the experts' load a histogram, an event row nothing") {
  const TemporaryDirectory directory;
  PosixFileLayer files;
  TensorBoardFile file(files, directory.file("tensorboard"), 0, [] { return 1700000000.5; });
  CHECK_FALSE(files.exists(directory.file("tensorboard")));
  CHECK(file.write({{"step", 4}, {"event", "resumed"}, {"count", 3}}).empty());
  CHECK_FALSE(files.exists(directory.file("tensorboard")));
  CHECK(file.write(training_row(4)).empty());
  CHECK(file.write({{"step", 4}, {"val_loss", 3.0}, {"sets", {{"a", 3.0}, {"b", 2.0}}}}).empty());
  const auto names = files.list(directory.file("tensorboard"));
  REQUIRE(names.size() == 1);
  CHECK(names[0].rfind("events.out.tfevents.1700000000.", 0) == 0);
  const auto events = EventReader::read(files.read(directory.file("tensorboard/" + names[0])));
  REQUIRE(events.size() == 4);
  CHECK(events[1].start);
  CHECK(events[2].step == 4);
  CHECK(events[2].wall_time == 1700000000.5);
  CHECK(events[2].scalars == std::map<std::string, float>{{"loss", 2.0F},
                                                          {"lr", 0.25F},
                                                          {"max_violation/layer_00", 0.5F},
                                                          {"max_violation/layer_11", 0.75F},
                                                          {"dead_experts/layer_00", 1.0F},
                                                          {"dead_experts/layer_11", 0.0F}});
  REQUIRE(events[2].histograms.size() == 1);
  CHECK(events[2].histograms.at("expert_load/layer_00").counts == std::vector<double>{3.0, 0.0, 1.0});
  CHECK(events[3].scalars ==
        std::map<std::string, float>{{"val_loss", 3.0F}, {"val_loss/a", 3.0F}, {"val_loss/b", 2.0F}});
}

TEST_CASE("After a kill and a resume every step is shown once, even when the clock was set back") {
  const TemporaryDirectory directory;
  PosixFileLayer files;
  {
    TensorBoardFile file(files, directory.path(), 0, [] { return 1700000000.0; });
    for (std::int64_t step = 1; step <= 7; ++step) CHECK(file.write(training_row(step)).empty());
  }
  {
    // The kill cut the last record short.
    const std::string name = directory.file(files.list(directory.path()).at(0));
    std::filesystem::resize_file(name, std::filesystem::file_size(name) - 5);
    TensorBoardFile file(files, directory.path(), 5, [] { return 1600000000.0; });  // step 4 was saved
    for (std::int64_t step = 5; step <= 9; ++step) CHECK(file.write(training_row(step)).empty());
  }
  {
    TensorBoardFile file(files, directory.path(), 9, [] { return 1600000000.0; });
    for (std::int64_t step = 9; step <= 10; ++step) CHECK(file.write(training_row(step)).empty());
  }
  CHECK(files.list(directory.path()).size() == 3);
  for (const auto& [tag, steps] : shown_steps(directory.path())) {
    INFO(tag);
    CHECK(steps == std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  }
}

TEST_CASE("A write that fails is reported once and costs its row alone") {
  const TemporaryDirectory directory;
  PosixFileLayer files;
  // Calls: 0 make_directory, 1 open, 2 to 4 write rows 1 to 3.
  const std::int64_t call = GENERATE(0, 1, 2, 4);
  INFO("call " << call);
  FailingFileLayer failing(files, call, FailingFileLayer::Fault::error);
  TensorBoardFile file(failing, directory.file("tensorboard"), 1);
  std::vector<std::int64_t> lost;
  for (std::int64_t step = 1; step <= 5; ++step) {
    const std::string error = file.write(training_row(step));
    if (error.empty()) continue;
    CHECK(error.find("no space left") != std::string::npos);
    lost.push_back(step);
  }
  CHECK(lost == std::vector<std::int64_t>{call <= 2 ? 1 : 3});
  std::vector<std::int64_t> rest;
  for (std::int64_t step = 1; step <= 5; ++step) {
    if (step != lost[0]) rest.push_back(step);
  }
  CHECK(shown_steps(directory.file("tensorboard"))["loss"] == rest);
  CHECK(files.list(directory.file("tensorboard")).size() == (call == 4 ? 2U : 1U));
}
