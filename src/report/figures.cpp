#include "report/figures.h"

#include <algorithm>
#include <cctype>

#include "report/format.h"
#include "report/interval_chart.h"
#include "report/svg.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr size_t kMaxDataPoints = 160;
constexpr double kSmoothing = 0.02;
constexpr double kCutShare = 0.06;
constexpr const char* kCutNote = "The steep start is cut off; an inset, where there is room, enlarges the end.";

Figure training_figure(const Comparison& comparison) {
  Figure figure{"training-loss", "Training loss", "", "", false};
  figure.caption =
      concat("Cross-entropy on training batches: centred mean over ", format_fixed(100.0 * kSmoothing, 0),
             " % of the steps, single steps of one seed faint behind it; ", band_caption(comparison), ". ", kCutNote);
  figure.body = switched_chart_body([&](XAxis axis) {
    ChartSpec spec;
    spec.label = "Training loss";
    spec.y_title = "Training loss (nats per token)";
    spec.cut_share = kCutShare;
    spec.enlarge_end = true;
    spec.series = group_series(comparison, training_loss_track, axis, {kSmoothing, true, false});
    return spec;
  });
  return figure;
}

Figure validation_figure(const Comparison& comparison) {
  Figure figure{"validation-loss", "Validation loss", "", "", false};
  figure.caption = concat("Cross-entropy on held-out text; ", band_caption(comparison), ". ", kCutNote);
  figure.body = switched_chart_body([&](XAxis axis) {
    ChartSpec spec;
    spec.label = "Validation loss";
    spec.y_title = "Validation loss (nats per token)";
    spec.cut_share = kCutShare;
    spec.enlarge_end = true;
    const TrackOf track = [](const Run& run) { return validation_track(run); };
    spec.series = group_series(comparison, track, axis, {0.0, false, true});
    return spec;
  });
  return figure;
}

Figure difference_figure(const Comparison& comparison) {
  const std::string& reference = comparison.groups.front().name;
  Figure figure{"loss-difference", concat("Difference to ", reference, " during training"), "", "", false};
  figure.caption = concat("Validation loss minus that of ", reference,
                          " at equal tokens, compute or time, as the switch says; below zero is better. Shaded: 95 % "
                          "confidence interval of the mean over paired seeds, where there are at least two. Between "
                          "validations, losses are interpolated linearly.");
  figure.body = switched_chart_body([&](XAxis axis) {
    ChartSpec spec;
    spec.label = figure.title;
    spec.y_title = concat("Loss minus that of ", shortened(reference, 24), " (nats)");
    spec.cut_share = 0.12;
    spec.series = difference_series(comparison, axis);
    return spec;
  });
  return figure;
}

std::string interval_body(const IntervalChartSpec& spec) {
  return render_interval_chart(spec, FigureSize::wide) + render_interval_chart(spec, FigureSize::narrow);
}

Figure final_losses_figure(const Comparison& comparison) {
  IntervalChartSpec spec;
  spec.label = "Final validation loss by seed";
  spec.x_title = "Final validation loss (nats per token)";
  for (size_t g = 0; g < comparison.groups.size(); ++g) {
    const Group& group = comparison.groups[g];
    IntervalRow row;
    row.name = group.name;
    row.style = g;
    row.center = group.final_losses.mean();
    row.value = format_mean(row.center, group.final_losses.standard_deviation());
    if (group.final_losses.seeds.size() > 1) row.dots = group.final_losses.values();
    spec.rows.push_back(row);
  }
  return {"final-losses", "Final validation loss by seed",
          "Solid: mean over seeds; open: single seeds. Numbers: mean ± standard deviation over seeds.",
          interval_body(spec), false};
}

Figure final_differences_figure(const Comparison& comparison) {
  IntervalChartSpec spec;
  spec.label = "Differences of the final validation loss";
  spec.x_title = "Difference of final validation loss (nats per token)";
  spec.reference = 0.0;
  spec.margin = comparison.options.equivalence_margin;
  if (spec.margin) spec.margin_label = concat("shaded: equivalence margin of ±", *spec.margin);
  for (const Difference& difference : comparison.differences) {
    IntervalRow row;
    row.name = concat(comparison.groups[difference.a].name, " − ", comparison.groups[difference.b].name);
    row.style = difference.b;
    row.center = difference.loss.delta;
    row.interval = difference.loss.ci95;
    row.value = concat(format_delta(difference.loss.delta), ' ',
                       difference.loss.ci95 ? format_interval(difference.loss.ci95) : difference.verdict);
    spec.rows.push_back(row);
  }
  return {"final-differences", "Differences of the final validation loss",
          "First minus second: left of zero, the first is better. Bars: 95 % confidence interval over seeds; one that "
          "leaves zero out is a significant difference.",
          interval_body(spec), false};
}

std::vector<Figure> set_figures(const Comparison& comparison) {
  std::vector<std::string> names;
  for (const Group& group : comparison.groups) {
    for (const SetLosses& set : group.sets) {
      if (std::find(names.begin(), names.end(), set.name) == names.end()) names.push_back(set.name);
    }
  }
  std::vector<Figure> figures;
  if (names.size() < 2) return figures;  // a single set is the validation loss itself
  for (const std::string& name : names) {
    Figure figure{concat("validation-", figures.size() + 1), concat("Validation loss on ", name), "", "", false};
    figure.caption = concat(band_caption(comparison), '.');
    figure.caption.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(figure.caption.front())));
    figure.body = switched_chart_body([&](XAxis axis) {
      ChartSpec spec;
      spec.label = figure.title;
      spec.y_title = concat("Loss on ", shortened(name, 24), " (nats per token)");
      spec.cut_share = kCutShare;
      spec.enlarge_end = true;
      const TrackOf track = [&](const Run& run) { return validation_track(run, name); };
      spec.series = group_series(comparison, track, axis, {0.0, false, true});
      return spec;
    });
    figures.push_back(std::move(figure));
  }
  return figures;
}

bool any_rows(const Comparison& comparison, bool validation) {
  return std::any_of(comparison.runs.begin(), comparison.runs.end(),
                     [&](const Run& run) { return validation ? !run.validation.empty() : !run.training.empty(); });
}

}  // namespace

std::string band_caption(const Comparison& comparison) {
  size_t fewest = comparison.groups.front().runs.size();
  size_t most = fewest;
  for (const Group& group : comparison.groups) {
    fewest = std::min(fewest, group.runs.size());
    most = std::max(most, group.runs.size());
  }
  if (most == 1) return "one seed each";
  if (fewest == most) return concat("mean of ", most, " seeds, shaded from lowest to highest");
  return concat("mean of ", fewest, " to ", most, " seeds, shaded from lowest to highest");
}

std::string chart_body(const ChartSpec& spec) {
  return concat(render_chart(spec, FigureSize::wide), render_chart(spec, FigureSize::narrow),
                "<script type=\"application/json\">", script_safe(chart_data(spec, kMaxDataPoints)), "</script>");
}

std::string heat_map_body(const HeatMapSpec& spec, bool full_width) {
  constexpr size_t max_times = 16;  // the picture has more of them than anyone reads as numbers
  const size_t max_points = spec.numbered_columns ? spec.panels.front().num_columns : max_times;
  return concat(render_heat_map(spec, full_width ? FigureSize::full : FigureSize::wide),
                render_heat_map(spec, FigureSize::narrow), "<script type=\"application/json\">",
                script_safe(heat_map_data(spec, max_points)), "</script>");
}

std::string switched_chart_body(const std::function<ChartSpec(XAxis)>& make) {
  std::string out;
  for (const XAxis axis : kXAxes) {
    ChartSpec spec = make(axis);
    spec.x_title = axis_title(axis);
    spec.x_quantity = axis_quantity(axis);
    out += concat("<div class=\"variant on-", axis_name(axis), "\">", chart_body(spec), "</div>");
  }
  return out;
}

std::vector<FigureSection> make_figures(const Comparison& comparison) {
  const bool validated = any_rows(comparison, true);
  FigureSection losses{"loss", "Loss", {}};
  if (any_rows(comparison, false)) losses.figures.push_back(training_figure(comparison));
  if (validated) losses.figures.push_back(validation_figure(comparison));
  FigureSection finals{"differences", "Differences", {}};
  if (validated && comparison.groups.size() > 1) {
    losses.figures.push_back(difference_figure(comparison));
    losses.figures.push_back(final_losses_figure(comparison));
    finals.figures.push_back(final_differences_figure(comparison));
  }
  FigureSection sets{"sets", "Validation sets", set_figures(comparison)};
  FigureSection routing{"routing", "Routing", make_routing_figures(comparison)};
  std::vector<FigureSection> sections;
  for (FigureSection* section : {&losses, &finals, &sets, &routing}) {
    if (!section->figures.empty()) sections.push_back(std::move(*section));
  }
  return sections;
}

}  // namespace artel
