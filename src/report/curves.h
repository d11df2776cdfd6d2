#pragma once
// Curves of runs: smoothing, thinning for the eye, and bringing the seeds of a group to common points.

#include <cstddef>
#include <vector>

namespace artel {

/// One value of a run's curve.
struct CurvePoint {
  double x = 0.0;        ///< tokens, unless the curve was moved to another axis
  double seconds = 0.0;  ///< NaN when the run does not tell
  double value = 0.0;
};

/// The curve of one run, ascending in x.
using Track = std::vector<CurvePoint>;

/// The curves of several runs at common points.
struct AlignedTracks {
  std::vector<double> x;                    ///< [P]
  std::vector<double> seconds;              ///< [P] mean over the runs
  std::vector<std::vector<double>> values;  ///< [runs][P]

  size_t num_points() const { return x.size(); }
  double mean(size_t point) const;
  double lowest(size_t point) const;
  double highest(size_t point) const;
};

/// Brings tracks to the x of the first that lie within the range of all; where another track has no sample
/// of its own, its value is interpolated. Empty tracks are left out; without any other the result has no points.
AlignedTracks align_tracks(const std::vector<Track>& tracks);

/// The mean over a centred window of `window` samples, which narrows symmetrically towards both ends, so that a falling
/// curve is not biased there.
Track smoothed(const Track& track, size_t window);

/// At most `max_points` evenly spaced samples, both ends included.
Track thinned(const Track& track, size_t max_points);

/// At most 2 * `num_bins` samples that look like the whole: lowest and highest of each bin, in order.
Track envelope(const Track& track, size_t num_bins);

}  // namespace artel
