#include "report/curves.h"

#include <algorithm>
#include <cmath>

#include "support/catch.h"

namespace artel {
namespace {

Track line_track(size_t size, double slope) {
  Track track;
  for (size_t i = 0; i < size; ++i) {
    const auto x = static_cast<double>(i);
    track.push_back({x, 2.0 * x, 5.0 + slope * x});
  }
  return track;
}

TEST_CASE("smoothing leaves a straight line alone, up to both ends") {
  const Track track = line_track(50, -0.1);
  const Track result = smoothed(track, 9);
  REQUIRE(result.size() == track.size());
  for (size_t i = 0; i < track.size(); ++i) CHECK(result[i].value == Approx(track[i].value));
}

TEST_CASE("smoothing averages the window around a point") {
  Track track = line_track(11, 0.0);
  track[5].value += 3.0;
  const Track result = smoothed(track, 3);
  CHECK(result[3].value == Approx(5.0));
  CHECK(result[4].value == Approx(6.0));
  CHECK(result[5].value == Approx(6.0));
  CHECK(result[6].value == Approx(6.0));
  CHECK(result[7].value == Approx(5.0));
}

TEST_CASE("tracks are aligned on the first one's points within the range of all, by interpolation") {
  const Track a = {{1.0, 10.0, 4.0}, {2.0, 20.0, 3.0}, {3.0, 30.0, 2.0}, {4.0, 40.0, 1.0}};
  const Track b = {{1.5, 1.0, 8.0}, {3.5, 3.0, 4.0}};
  const AlignedTracks aligned = align_tracks({a, {}, b});
  CHECK(aligned.x == std::vector<double>{2.0, 3.0});
  REQUIRE(aligned.values.size() == 2);
  CHECK(aligned.values[0] == std::vector<double>{3.0, 2.0});
  CHECK(aligned.values[1][0] == Approx(7.0));
  CHECK(aligned.values[1][1] == Approx(5.0));
  CHECK(aligned.seconds[0] == Approx(0.5 * (20.0 + 1.5)));
  CHECK(aligned.mean(1) == Approx(3.5));
  CHECK(aligned.lowest(1) == Approx(2.0));
  CHECK(aligned.highest(1) == Approx(5.0));
  CHECK(align_tracks({a, {{9.0, 0.0, 1.0}}}).num_points() == 0);
  CHECK(align_tracks({}).num_points() == 0);
}

TEST_CASE("tracks with the same points are aligned without a rounding") {
  const Track a = {{1.0, 1.0, 0.1}, {2.0, 2.0, 0.2}};
  Track b = a;
  b[1].value = 0.3;
  const AlignedTracks aligned = align_tracks({a, b});
  CHECK(aligned.values[0] == std::vector<double>{0.1, 0.2});
  CHECK(aligned.values[1] == std::vector<double>{0.1, 0.3});
}

TEST_CASE("thinning keeps both ends and an envelope keeps the extremes") {
  Track track = line_track(1000, 0.0);
  track[777].value = 50.0;
  track[778].value = -50.0;
  const Track thin = thinned(track, 20);
  CHECK(thin.size() == 20);
  CHECK(thin.front().x == 0.0);
  CHECK(thin.back().x == 999.0);
  const Track outline = envelope(track, 30);
  CHECK(outline.size() <= 60);
  const auto ends = std::minmax_element(outline.begin(), outline.end(),
                                        [](const CurvePoint& a, const CurvePoint& b) { return a.value < b.value; });
  CHECK(ends.first->value == -50.0);
  CHECK(ends.second->value == 50.0);
  CHECK(std::is_sorted(outline.begin(), outline.end(),
                       [](const CurvePoint& a, const CurvePoint& b) { return a.x < b.x; }));
}

}  // namespace
}  // namespace artel
