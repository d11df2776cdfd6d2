#include "train/event_file.h"

#include <cmath>
#include <limits>

#include "support/catch.h"
#include "support/event_reader.h"
#include "util/files.h"

using namespace artel;

TEST_CASE("Event files have the bytes that TensorBoard's own writer writes") {
  std::string bytes = version_record(1.5) + start_record(1.5, 9);
  SummaryEvent first(2.25, 0);
  first.add_scalar("val_loss", 5.5F);
  first.add_scalar("aux_loss", 0.0F);
  bytes += first.record();
  SummaryEvent second(1700000000.125, 300);
  second.add_scalar("loss", 0.1F);
  second.add_scalar("grad_norm", std::numeric_limits<float>::infinity());
  second.add_histogram("expert_load/layer_00", expert_histogram({0, 5, 0, 3, 0}));
  bytes += second.record();
  SummaryEvent third(1700000001.0, 1'000'000'000'000);
  third.add_histogram("expert_load/layer_00", expert_histogram({0, 0}));
  bytes += third.record();
  CHECK(bytes == read_file(std::string(ARTEL_SOURCE_DIR) + "/tests/golden/tensorboard.tfevents"));
}

TEST_CASE("The records of an event file decode to what was written, checksums included") {
  SummaryEvent written(2.5, 77);
  written.add_scalar("loss", std::nanf(""));
  written.add_scalar("lr", -1.0e-30F);
  written.add_histogram("load", expert_histogram({2, 0, 1}));
  std::string file = version_record(1.0) + start_record(1.25, 78) + written.record();
  const auto events = EventReader::read(file);
  REQUIRE(events.size() == 3);
  CHECK(events[0].version == "brain.Event:2");
  CHECK(events[0].wall_time == 1.0);
  CHECK_FALSE(events[0].start);
  CHECK(events[1].start);
  CHECK(events[1].step == 78);
  CHECK(events[2].step == 77);
  CHECK(events[2].wall_time == 2.5);
  CHECK(std::isnan(events[2].scalars.at("loss")));
  CHECK(events[2].scalars.at("lr") == -1.0e-30F);
  const ReadHistogram& histogram = events[2].histograms.at("load");
  CHECK(histogram.min == 0.0);
  CHECK(histogram.max == 3.0);
  CHECK(histogram.num == 3.0);
  CHECK(histogram.sum == 2 * 0.5 + 2.5);
  CHECK(histogram.sum_squares == 2 * 0.25 + 6.25);
  CHECK(histogram.limits == std::vector<double>{1.0, 2.0, 3.0});
  CHECK(histogram.counts == std::vector<double>{2.0, 0.0, 1.0});
  CHECK_FALSE(written.empty());
  CHECK(SummaryEvent(1.0, 1).empty());

  bool cut = false;
  CHECK(EventReader::read(std::string_view(file).substr(0, file.size() - 3), &cut).size() == 2);
  CHECK(cut);
  file[file.size() - 10] ^= 1;
  CHECK_THROWS(EventReader::read(file));
}
