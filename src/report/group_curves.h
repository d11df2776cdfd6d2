#pragma once
// Curves of groups, ready to draw: mean over the seeds, their range, and the raw values behind.

#include <functional>
#include <string>
#include <vector>

#include "report/chart.h"
#include "report/comparison.h"

namespace artel {

/// What training is measured by.
enum class XAxis { tokens, flops, seconds };

constexpr XAxis kXAxes[] = {XAxis::tokens, XAxis::flops, XAxis::seconds};

/// "tokens", "flops", "seconds": part of class names.
std::string axis_name(XAxis axis);
std::string axis_title(XAxis axis);
Quantity axis_quantity(XAxis axis);

/// Picks one curve out of a run, against tokens; empty when the run has none.
using TrackOf = std::function<Track(const Run&)>;

/// The overall validation loss, or that of one validation set.
Track validation_track(const Run& run);
Track validation_track(const Run& run, const std::string& set);
Track training_loss_track(const Run& run);
/// The mean over layers of a routing value.
Track routing_track(const Run& run, double LayerRouting::*value);

struct CurveStyle {
  double smoothing = 0.0;  ///< share of the run's rows in the centred mean; 0: none
  bool raw = false;        ///< the first run's values before smoothing, behind the curve
  bool markers = false;
};

/// One series per group that has the curve: the mean over its runs and, for two or more, their range as the band.
std::vector<ChartSeries> group_series(const Comparison& comparison, const TrackOf& track_of, XAxis axis,
                                      const CurveStyle& style);

/// Validation loss minus that of group 0 at equal `axis`, over time: zero for group 0, and for each further group the
/// mean over paired seeds with its 95 % interval, or the difference of the means when seeds do not pair.
std::vector<ChartSeries> difference_series(const Comparison& comparison, XAxis axis);

/// A routing value by layer, mean over the last tenth of training; one series per group.
std::vector<ChartSeries> layer_series(const Comparison& comparison, double LayerRouting::*value);

}  // namespace artel
