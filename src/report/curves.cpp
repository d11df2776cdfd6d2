#include "report/curves.h"

#include <algorithm>
#include <cmath>

namespace artel {
namespace {

// The sample of `track` at `x`, which lies within the track's range. `hint` is where the last search ended.
CurvePoint sample_at(const Track& track, double x, size_t& hint) {
  while (hint + 1 < track.size() && track[hint].x < x) ++hint;
  const CurvePoint& after = track[hint];
  if (hint == 0 || after.x == x) return after;
  const CurvePoint& before = track[hint - 1];
  const double share = (x - before.x) / (after.x - before.x);
  const auto mix = [share](double low, double high) { return low + share * (high - low); };
  return {x, mix(before.seconds, after.seconds), mix(before.value, after.value)};
}

}  // namespace

double AlignedTracks::mean(size_t point) const {
  double sum = 0.0;
  for (const auto& run : values) sum += run[point];
  return sum / static_cast<double>(values.size());
}

double AlignedTracks::lowest(size_t point) const {
  double low = values.front()[point];
  for (const auto& run : values) low = std::min(low, run[point]);
  return low;
}

double AlignedTracks::highest(size_t point) const {
  double high = values.front()[point];
  for (const auto& run : values) high = std::max(high, run[point]);
  return high;
}

AlignedTracks align_tracks(const std::vector<Track>& tracks) {
  std::vector<const Track*> used;
  for (const Track& track : tracks) {
    if (!track.empty()) used.push_back(&track);
  }
  AlignedTracks aligned;
  if (used.empty()) return aligned;
  double first = used.front()->front().x;
  double last = used.front()->back().x;
  for (const Track* track : used) {
    first = std::max(first, track->front().x);
    last = std::min(last, track->back().x);
  }
  aligned.values.resize(used.size());
  std::vector<size_t> hints(used.size(), 0);
  for (const CurvePoint& wanted : *used.front()) {
    if (wanted.x < first || wanted.x > last) continue;
    double seconds = 0.0;
    for (size_t run = 0; run < used.size(); ++run) {
      const CurvePoint sample = sample_at(*used[run], wanted.x, hints[run]);
      aligned.values[run].push_back(sample.value);
      seconds += sample.seconds;
    }
    aligned.x.push_back(wanted.x);
    aligned.seconds.push_back(seconds / static_cast<double>(used.size()));
  }
  return aligned;
}

Track smoothed(const Track& track, size_t window) {
  std::vector<double> sums(track.size() + 1, 0.0);
  for (size_t i = 0; i < track.size(); ++i) sums[i + 1] = sums[i] + track[i].value;
  Track result = track;
  for (size_t i = 0; i < track.size(); ++i) {
    const size_t reach = std::min({window / 2, i, track.size() - 1 - i});
    result[i].value = (sums[i + reach + 1] - sums[i - reach]) / static_cast<double>(2 * reach + 1);
  }
  return result;
}

Track thinned(const Track& track, size_t max_points) {
  if (track.size() <= max_points || max_points < 2) return track;
  Track result;
  const double stride = static_cast<double>(track.size() - 1) / static_cast<double>(max_points - 1);
  for (size_t i = 0; i < max_points; ++i) {
    result.push_back(track[static_cast<size_t>(std::lround(stride * static_cast<double>(i)))]);
  }
  return result;
}

Track envelope(const Track& track, size_t num_bins) {
  if (track.size() <= 2 * num_bins) return track;
  Track result;
  for (size_t bin = 0; bin < num_bins; ++bin) {
    const auto begin = track.begin() + static_cast<std::ptrdiff_t>(track.size() * bin / num_bins);
    const auto end = track.begin() + static_cast<std::ptrdiff_t>(track.size() * (bin + 1) / num_bins);
    const auto ends =
        std::minmax_element(begin, end, [](const CurvePoint& a, const CurvePoint& b) { return a.value < b.value; });
    const auto earlier = std::min(ends.first, ends.second);
    const auto later = std::max(ends.first, ends.second);
    result.push_back(*earlier);
    if (later != earlier) result.push_back(*later);
  }
  return result;
}

}  // namespace artel
