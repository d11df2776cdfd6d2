#include "train/spike_detector.h"

#include <cmath>

#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

namespace {

TrainConfig config_of(std::int64_t window, double z_score) {
  TrainConfig config;
  config.spike_window = window;
  config.spike_z_score = z_score;
  return config;
}

// Noise around 4 with a standard deviation near 0.1, from a fixed sequence.
double noise(int step) {
  return 4.0 + 0.14 * std::sin(1.0 + 2.399963 * step);
}

SpikeDetector quiet_detector(int num_steps, const TrainConfig& config) {
  SpikeDetector detector(config);
  for (int step = 0; step < num_steps; ++step) CHECK(detector.judge(noise(step), 2.0 * noise(step)).empty());
  return detector;
}

}  // namespace

TEST_CASE("A value above the mean by more than the z-score is a spike of its quantity, one below it is not") {
  SpikeDetector detector = quiet_detector(64, config_of(64, 6.0));
  CHECK(detector.judge(4.5, 8.0).empty());
  const std::vector<Spike> spikes = detector.judge(5.5, 8.0);
  REQUIRE(spikes.size() == 1);
  CHECK(spikes[0].quantity == "loss");
  CHECK(spikes[0].value == 5.5);
  CHECK(spikes[0].mean == Approx(4.0).margin(0.02));
  CHECK(spikes[0].standard_deviation == Approx(0.1).margin(0.03));
  CHECK(spikes[0].z_score == Approx((5.5 - spikes[0].mean) / spikes[0].standard_deviation));
  CHECK(detector.judge(0.0, 0.0).empty());  // far below
  const std::vector<Spike> both = quiet_detector(64, config_of(64, 6.0)).judge(50.0, 50.0);
  REQUIRE(both.size() == 2);
  CHECK(both[1].quantity == "grad_norm");
}

TEST_CASE("There is no verdict before half of the window is filled, and none at all with a window of 0") {
  CHECK(quiet_detector(31, config_of(64, 6.0)).judge(1.0e6, 1.0e6).empty());
  CHECK(quiet_detector(32, config_of(64, 6.0)).judge(1.0e6, 1.0e6).size() == 2);
  CHECK(quiet_detector(500, config_of(0, 6.0)).judge(1.0e6, 1.0e6).empty());
}

TEST_CASE("One spike does not hide the next") {
  SpikeDetector detector = quiet_detector(64, config_of(64, 6.0));
  CHECK(detector.judge(1.0e6, 8.0).size() == 1);
  CHECK(detector.judge(noise(64), 8.0).empty());
  CHECK(detector.judge(6.0, 8.0).size() == 1);
}

TEST_CASE("A level that stays becomes the new normal") {
  SpikeDetector detector = quiet_detector(128, config_of(128, 6.0));
  int num_spikes = 0;
  for (int step = 0; step < 200; ++step) num_spikes += detector.judge(noise(step) + 10.0, 8.0).empty() ? 0 : 1;
  CHECK(num_spikes >= 1);
  CHECK(num_spikes < 64);
  CHECK(detector.judge(noise(0) + 10.0, 8.0).empty());
}

TEST_CASE("Values that do not move at all make no spike of a rounding") {
  SpikeDetector detector(config_of(16, 6.0));
  for (int step = 0; step < 16; ++step) detector.judge(2.0, 1.0);
  CHECK(detector.judge(2.001, 1.0).empty());
  CHECK(detector.judge(2.1, 1.0).size() == 1);
}

TEST_CASE("A detector restored from its state, through JSON text, judges with the same bits") {
  const TrainConfig config = config_of(32, 3.0);
  SpikeDetector one = quiet_detector(40, config);
  one.judge(9.0, 99.0);
  SpikeDetector other(config);
  other.restore(parse_json(dump_json(one.state()), "state"), "state");
  for (int step = 0; step < 40; ++step) {
    const double value = 4.0 + 0.5 * std::sin(0.7 * step);
    const std::vector<Spike> a = one.judge(value, value);
    const std::vector<Spike> b = other.judge(value, value);
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i].z_score == b[i].z_score);
  }
  CHECK(one.state() == other.state());
}

TEST_CASE("A smaller window takes the newest values of a state, and a damaged state is an error") {
  SpikeDetector one = quiet_detector(64, config_of(64, 6.0));
  SpikeDetector other(config_of(8, 6.0));
  other.restore(one.state(), "state");
  CHECK(other.state()["loss"].size() == 8);
  CHECK(other.state()["loss"][7] == one.state()["loss"][63]);
  other.restore(Json::object(), "state");
  CHECK(other.state()["loss"].empty());
  CHECK(contains(error_text([&] { other.restore(Json({{"loss", {"x"}}}), "manifest.json"); }), "manifest.json"));
}
