#include "report/group_curves.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace artel {
namespace {

constexpr size_t kMaxLinePoints = 240;
constexpr size_t kRawBins = 140;

double x_of(const CurvePoint& sample, const Run& run, XAxis axis) {
  switch (axis) {
    case XAxis::flops:
      return sample.x * run.flops_per_token;
    case XAxis::seconds:
      return sample.seconds;
    case XAxis::tokens:
      break;
  }
  return sample.x;
}

// The curve of a run against `axis`; samples that have no place there are left out.
Track moved(const Track& track, const Run& run, XAxis axis) {
  Track result;
  for (const CurvePoint& sample : track) {
    const double x = x_of(sample, run, axis);
    if (std::isfinite(x)) result.push_back({x, sample.seconds, sample.value});
  }
  return result;
}

std::vector<ChartPoint> raw_points(const Track& track, const Run& run, XAxis axis) {
  std::vector<ChartPoint> points;
  for (const CurvePoint& sample : envelope(track, kRawBins)) points.push_back({x_of(sample, run, axis), sample.value});
  return points;
}

Track smoothed_by(const Track& track, double share) {
  const auto window = static_cast<size_t>(std::lround(share * static_cast<double>(track.size())));
  return window > 1 ? smoothed(track, window) : track;
}

const Run* run_of_seed(const Comparison& comparison, const Group& group, int64_t seed) {
  for (const size_t run : group.runs) {
    if (comparison.runs[run].seed == seed) return &comparison.runs[run];
  }
  return nullptr;
}

// a's curve minus b's where both have values.
Track difference_track(const Run& a, const Run& b, XAxis axis) {
  const AlignedTracks both = align_tracks({moved(validation_track(a), a, axis), moved(validation_track(b), b, axis)});
  Track track;
  if (both.values.size() < 2) return track;
  for (size_t i = 0; i < both.num_points(); ++i) {
    track.push_back({both.x[i], both.seconds[i], both.values[0][i] - both.values[1][i]});
  }
  return track;
}

ChartSeries paired_series(const std::vector<Track>& differences) {
  ChartSeries series;
  const AlignedTracks aligned = align_tracks(differences);
  for (size_t i = 0; i < aligned.num_points(); ++i) {
    std::vector<double> values;
    for (const auto& run : aligned.values) values.push_back(run[i]);
    series.line.push_back({aligned.x[i], mean_of(values)});
    if (values.size() < 2) continue;
    const std::vector<double> zeros(values.size(), 0.0);
    const Interval interval = confidence_interval(paired_difference(values, zeros), 0.95);
    series.low.push_back(interval.low);
    series.high.push_back(interval.high);
  }
  return series;
}

// Without pairs: mean curve against mean curve.
ChartSeries unpaired_series(const Comparison& comparison, const Group& a, const Group& b, XAxis axis) {
  const auto mean_track = [&](const Group& group) {
    Track track;
    for (size_t i = 0; i < group.validation.num_points(); ++i) {
      track.push_back({group.validation.x[i], group.validation.seconds[i], group.validation.mean(i)});
    }
    return moved(track, comparison.runs[group.runs.front()], axis);
  };
  ChartSeries series;
  const AlignedTracks both = align_tracks({mean_track(a), mean_track(b)});
  if (both.values.size() < 2) return series;
  for (size_t i = 0; i < both.num_points(); ++i) {
    series.line.push_back({both.x[i], both.values[0][i] - both.values[1][i]});
  }
  return series;
}

// Layer -> mean of the value over the last tenth of the run's training rows.
std::map<int64_t, double> final_by_layer(const Run& run, double LayerRouting::*value) {
  std::map<int64_t, std::pair<double, double>> sums;
  for (size_t i = run.training.size() - (run.training.size() + 9) / 10; i < run.training.size(); ++i) {
    for (const LayerRouting& layer : run.training[i].moe) {
      if (!std::isfinite(layer.*value)) continue;
      sums[layer.layer].first += layer.*value;
      sums[layer.layer].second += 1.0;
    }
  }
  std::map<int64_t, double> means;
  for (const auto& item : sums) means[item.first] = item.second.first / item.second.second;
  return means;
}

}  // namespace

std::string axis_name(XAxis axis) {
  return axis == XAxis::tokens ? "tokens" : axis == XAxis::flops ? "flops" : "seconds";
}

std::string axis_title(XAxis axis) {
  return axis == XAxis::tokens ? "Training tokens" : axis == XAxis::flops ? "Training compute" : "Training time";
}

Quantity axis_quantity(XAxis axis) {
  return axis == XAxis::tokens ? Quantity::tokens : axis == XAxis::flops ? Quantity::flops : Quantity::seconds;
}

Track validation_track(const Run& run) {
  Track track;
  for (const ValidationRow& row : run.validation) {
    track.push_back({static_cast<double>(row.tokens), row.seconds, row.val_loss});
  }
  return track;
}

Track validation_track(const Run& run, const std::string& set) {
  Track track;
  for (const ValidationRow& row : run.validation) {
    for (const auto& item : row.sets) {
      if (item.first != set || !std::isfinite(item.second)) continue;
      track.push_back({static_cast<double>(row.tokens), row.seconds, item.second});
    }
  }
  return track;
}

Track training_loss_track(const Run& run) {
  Track track;
  for (const TrainingRow& row : run.training) {
    track.push_back({static_cast<double>(row.tokens), row.seconds, row.loss});
  }
  return track;
}

Track routing_track(const Run& run, double LayerRouting::*value) {
  Track track;
  for (const TrainingRow& row : run.training) {
    double sum = 0.0;
    double count = 0.0;
    for (const LayerRouting& layer : row.moe) {
      if (!std::isfinite(layer.*value)) continue;
      sum += layer.*value;
      count += 1.0;
    }
    if (count > 0.0) track.push_back({static_cast<double>(row.tokens), row.seconds, sum / count});
  }
  return track;
}

std::vector<ChartSeries> group_series(const Comparison& comparison, const TrackOf& track_of, XAxis axis,
                                      const CurveStyle& style) {
  std::vector<ChartSeries> result;
  for (size_t g = 0; g < comparison.groups.size(); ++g) {
    const Group& group = comparison.groups[g];
    ChartSeries series;
    series.name = group.name;
    series.style = g;
    series.markers = style.markers;
    std::vector<Track> tracks;
    for (const size_t index : group.runs) {
      const Run& run = comparison.runs[index];
      const Track track = track_of(run);
      if (style.raw && series.raw.empty()) series.raw.push_back(raw_points(track, run, axis));
      tracks.push_back(thinned(smoothed_by(track, style.smoothing), kMaxLinePoints));
    }
    const AlignedTracks aligned = align_tracks(tracks);
    for (size_t i = 0; i < aligned.num_points(); ++i) {
      const CurvePoint sample{aligned.x[i], aligned.seconds[i], aligned.mean(i)};
      const double x = x_of(sample, comparison.runs[group.runs.front()], axis);
      if (!std::isfinite(x)) continue;
      series.line.push_back({x, sample.value});
      if (aligned.values.size() < 2) continue;
      series.low.push_back(aligned.lowest(i));
      series.high.push_back(aligned.highest(i));
    }
    if (!series.line.empty()) result.push_back(std::move(series));
  }
  return result;
}

std::vector<ChartSeries> difference_series(const Comparison& comparison, XAxis axis) {
  const Group& reference = comparison.groups.front();
  ChartSeries zero;
  zero.name = reference.name;
  zero.line = {{0.0, 0.0}};
  std::vector<ChartSeries> result = {zero};
  for (size_t g = 1; g < comparison.groups.size(); ++g) {
    const Group& group = comparison.groups[g];
    std::vector<Track> differences;
    for (const size_t index : group.runs) {
      const Run& run = comparison.runs[index];
      const Run* partner = run_of_seed(comparison, reference, run.seed);
      if (partner != nullptr) differences.push_back(difference_track(run, *partner, axis));
    }
    ChartSeries series =
        differences.empty() ? unpaired_series(comparison, group, reference, axis) : paired_series(differences);
    series.name = group.name;
    series.style = g;
    series.markers = true;
    if (series.line.empty()) continue;
    const double end = series.line.back().x;
    if (end > result.front().line.back().x) result.front().line.push_back({end, 0.0});
    result.push_back(std::move(series));
  }
  return result;
}

std::vector<ChartSeries> layer_series(const Comparison& comparison, double LayerRouting::*value) {
  std::vector<ChartSeries> result;
  for (size_t g = 0; g < comparison.groups.size(); ++g) {
    std::map<int64_t, std::vector<double>> by_layer;
    for (const size_t run : comparison.groups[g].runs) {
      for (const auto& item : final_by_layer(comparison.runs[run], value)) by_layer[item.first].push_back(item.second);
    }
    ChartSeries series;
    series.name = comparison.groups[g].name;
    series.style = g;
    series.markers = true;
    for (const auto& item : by_layer) {
      series.line.push_back({static_cast<double>(item.first), mean_of(item.second)});
      if (comparison.groups[g].runs.size() < 2) continue;
      series.low.push_back(*std::min_element(item.second.begin(), item.second.end()));
      series.high.push_back(*std::max_element(item.second.begin(), item.second.end()));
    }
    if (!series.line.empty()) result.push_back(std::move(series));
  }
  return result;
}

}  // namespace artel
