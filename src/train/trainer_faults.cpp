// The parts of Trainer that deal with steps whose numbers went wrong (docs/numerics.md, "When numbers go wrong").

#include <algorithm>
#include <cmath>

#include "train/non_finite.h"
#include "train/trainer.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

// Samples that a row and a line of the log name.
constexpr std::size_t max_samples_in_row = 16;
constexpr std::size_t max_samples_in_log = 4;

// What a row says about the origin, in plain words.
std::string origin_text(const Json& origin) {
  if (origin["tensor"].is_null()) {
    return "nothing was found when the step was repeated, which points at the machine, its memory above all";
  }
  const bool named_by_layer =
      origin["layer"].is_number() && origin["tensor"].get<std::string>().rfind("model.", 0) != 0;
  std::string text =
      concat("first in ", named_by_layer ? concat("layer ", origin["layer"].get<std::int64_t>(), ", ") : "",
             origin["tensor"].get<std::string>(), " (", origin["direction"].get<std::string>(), ")");
  const Json& samples = origin["samples"];
  for (std::size_t i = 0; i < std::min(samples.size(), max_samples_in_log); ++i) {
    text += concat(i == 0 ? " of sample " : ", ", samples[i]["sample"].get<std::int64_t>(), " (window ",
                   samples[i]["window"].get<std::int64_t>(), " of ", samples[i]["file"].get<std::string>(), ")");
  }
  const auto num_samples = origin["num_samples"].get<std::size_t>();
  if (num_samples > max_samples_in_log && !samples.empty()) text += concat(" and others, ", num_samples, " in all");
  return text;
}

// The origin that came first of those that the ranks found, with the samples of all ranks that share it.
Json first_origin(const std::vector<std::string>& texts) {
  Json first;
  for (const std::string& text : texts) {
    const Json origin = parse_json(text, "ranks");
    const bool earlier = first.is_null() || origin["order"] < first["order"];
    if (earlier) {
      first = origin;
    } else if (origin["order"] == first["order"]) {
      for (const Json& sample : origin["samples"]) {
        if (first["samples"].size() < max_samples_in_row) first["samples"].push_back(sample);
      }
      first["num_samples"] = first["num_samples"].get<std::int64_t>() + origin["num_samples"].get<std::int64_t>();
    }
  }
  first.erase("order");
  return first;
}

}  // namespace

bool Trainer::accept_step(double loss, double grad_norm) {
  step_spikes_ = spike_detector_.judge(loss, grad_norm);
  return step_spikes_.empty() || config_.train.spike_action != "skip";
}

Json Trainer::find_origin(const StepRecord& record) {
  const StepOutcome& outcome = *record.outcome;
  const Batch& batch = record.batch;
  if (std::isfinite(outcome.loss) && std::isfinite(outcome.update.grad_norm)) {
    // Finite, and yet too large to be squared in fp32.
    return {{"layer", nullptr},
            {"tensor", "grad_norm"},
            {"direction", "backward"},
            {"samples", Json::array()},
            {"num_samples", 0}};
  }
  const NonFiniteReport report = locate_non_finite(runtime_.context(), model_, batch, step_options(record.step));
  const std::int64_t first_sample =
      (record.step - 1) * config_.train.global_batch_size + mesh_.world().rank() * batch.num_samples;
  Json origin;
  origin["order"] = report.order;
  origin["layer"] = report.layer >= 0 ? Json(report.layer) : Json();
  origin["tensor"] = report.tensor.empty() ? Json() : Json(report.tensor);
  origin["direction"] = report.tensor.empty() ? Json() : Json(report.direction);
  origin["samples"] = Json::array();
  for (std::size_t i = 0; i < std::min(report.samples.size(), max_samples_in_row); ++i) {
    const Sample& sample = batch.samples[static_cast<std::size_t>(report.samples[i])];
    origin["samples"].push_back({{"sample", first_sample + report.samples[i]},
                                 {"file", loader_->source(sample.source).file().path()},
                                 {"window", sample.window}});
  }
  origin["num_samples"] = report.samples.size();
  return first_origin(mesh_.world().all_gather_text(dump_json(origin), Purpose::control));
}

void Trainer::report_spikes(const StepRecord& record) {
  for (const Spike& spike : step_spikes_) {
    Json row;
    row["step"] = record.step;
    row["event"] = "spike";
    row["quantity"] = spike.quantity;
    row["value"] = spike.value;
    row["mean"] = spike.mean;
    row["standard_deviation"] = spike.standard_deviation;
    row["z_score"] = spike.z_score;
    row["applied"] = record.outcome->update.applied;
    write_row(row);
    log_.warn(concat("step ", record.step, ": ", spike.quantity, " ", format_fixed(spike.value, 4), " is ",
                     format_fixed(spike.z_score, 1), " standard deviations above the mean ",
                     format_fixed(spike.mean, 4), " of the steps before",
                     record.outcome->update.applied ? "" : "; the step was not applied"));
  }
}

void Trainer::report_faults(const StepRecord& record) {
  report_spikes(record);
  if (record.outcome->finite) {
    num_bad_steps_ = 0;
    return;
  }
  ++num_bad_steps_;
  const Json origin = find_origin(record);
  Json row;
  row["step"] = record.step;
  row["event"] = "non_finite_step";
  row.update(origin);
  row["samples"] = Json::array();
  row["windows"] = Json::array();
  for (const Json& sample : origin["samples"]) {
    row["samples"].push_back(sample["sample"]);
    row["windows"].push_back({{"file", sample["file"]}, {"window", sample["window"]}});
  }
  row["applied"] = record.outcome->update.applied;
  write_row(row);
  const std::string text = origin_text(origin);
  log_.warn(concat("step ", record.step, ": the loss or its gradient is not finite, ", text,
                   "; the step was not applied (", num_bad_steps_, " in a row, training stops at ",
                   config_.train.max_bad_steps, ")"));
  if (num_bad_steps_ >= config_.train.max_bad_steps) {
    fail("train", concat("required finite numbers, found ", num_bad_steps_, " steps in a row without, up to step ",
                         record.step, ": ", text,
                         "; lower optimizer.lr or raise schedule.warmup_steps, then resume from the last checkpoint"));
  }
}

void Trainer::report_validation(const std::string& set, double loss) {
  if (std::isfinite(loss)) return;
  Json row;
  row["step"] = step_;
  row["event"] = "non_finite_validation";
  row["set"] = set;
  write_row(row);
  log_.warn(concat("step ", step_, ": the validation loss on ", set, " is not finite"));
}

}  // namespace artel
