#include "report/run_reader.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string_view>

#include "util/error.h"
#include "util/files.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr double kMaxLoad = 1e15;  // tokens of one step
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Null stands for a value that is not finite, which JSON cannot hold.
double optional_number(const Json& object, const char* key, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return kNaN;
  return json_value<double>(object, key, where);
}

std::string optional_text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

int64_t count_value(const Json& object, const char* key, std::string_view where) {
  const auto value = json_value<int64_t>(object, key, where);
  if (value < 0) fail(where, concat("member \"", key, "\" required a count of 0 or more, found ", value));
  return value;
}

LayerRouting read_layer(const Json& json, bool with_load, std::string_view where) {
  LayerRouting layer;
  layer.layer = count_value(json, "layer", where);
  layer.max_violation = optional_number(json, "max_violation", where);
  layer.entropy = optional_number(json, "entropy", where);
  layer.dead_experts = optional_number(json, "dead_experts", where);
  layer.choice_entropy = optional_number(json, "choice_entropy", where);
  layer.margin = optional_number(json, "margin", where);
  const auto load = json.find("load");
  if (!with_load || load == json.end()) return layer;
  if (!load->is_array()) fail(where, concat("member \"load\" required a list of numbers, found ", load->type_name()));
  for (const Json& value : *load) {
    if (!value.is_number() || value.get<double>() < 0.0 || value.get<double>() > kMaxLoad) {
      fail(where, concat("member \"load\" required numbers from 0 to 1e15, found ", excerpt_json(value)));
    }
    layer.load.push_back(value.get<float>());
  }
  return layer;
}

std::vector<double> read_counts(const Json& json, std::string_view where) {
  if (!json.is_array())
    fail(where, concat("member \"expert_counts\" required lists of counts, found ", json.type_name()));
  std::vector<double> counts;
  for (const Json& value : json) {
    if (!value.is_number() || value.get<double>() < 0.0) {
      fail(where, concat("member \"expert_counts\" required numbers of 0 or more, found ", dump_json(value)));
    }
    counts.push_back(value.get<double>());
  }
  return counts;
}

std::vector<SetExpertCounts> read_expert_counts(const Json& row, std::string_view where) {
  std::vector<SetExpertCounts> sets;
  const auto found = row.find("expert_counts");
  if (found == row.end()) return sets;
  if (!found->is_object()) {
    fail(where, concat("member \"expert_counts\" required an object, found ", found->type_name()));
  }
  for (const auto& item : found->items()) {
    SetExpertCounts set{item.key(), {}};
    if (!item.value().is_array()) {
      fail(where, concat("member \"expert_counts\" required a list per layer, found ", item.value().type_name()));
    }
    for (const Json& layer : item.value()) set.counts.push_back(read_counts(layer, where));
    sets.push_back(std::move(set));
  }
  return sets;
}

constexpr std::pair<const char*, const char*> kTaskScores[] = {
    {"accuracy", "accuracy"}, {"accuracy_per_token", "accuracy per token"}, {"accuracy_per_byte", "accuracy per byte"}};

std::vector<std::pair<std::string, double>> read_scores(const Json& row, std::string_view where) {
  std::vector<std::pair<std::string, double>> scores;
  for (const char* member : {"bits_per_byte", "tasks"}) {
    const auto found = row.find(member);
    if (found == row.end()) continue;
    if (!found->is_object())
      fail(where, concat("member \"", member, "\" required an object, found ", found->type_name()));
    for (const auto& item : found->items()) {
      if (std::string_view(member) == "bits_per_byte") {
        scores.emplace_back("bits per byte, " + item.key(), optional_number(*found, item.key().c_str(), where));
        continue;
      }
      if (!item.value().is_object()) {
        fail(where, concat("member \"tasks\" required an object per task, found ", item.value().type_name()));
      }
      for (const auto& [key, label] : kTaskScores) {
        if (item.value().contains(key)) {
          scores.emplace_back(concat(item.key(), ", ", label), optional_number(item.value(), key, where));
        }
      }
    }
  }
  return scores;
}

// Collects the rows of one metrics.jsonl.
class MetricsReader {
 public:
  explicit MetricsReader(Run& run) : run_(run) {}

  void add(const Json& row, std::string_view where) {
    if (!row.is_object()) fail(where, concat("required an object per line, found ", row.type_name()));
    if (row.contains("event")) {
      if (row.at("event") == "resumed") note_resume(row, where);
      run_.events.push_back(row);
    } else if (row.contains("val_loss")) {
      add_validation(row, where);
    } else if (row.contains("loss")) {
      add_training(row, where);
    } else {
      fail(where, "required a row with \"loss\", \"val_loss\" or \"event\", found none of them");
    }
  }

  void finish(const std::string& path) {
    lineage_.finish();
    keep_rows(run_.training);
    keep_rows(run_.validation);
    run_.changes = lineage_.changes();
    require_rising_tokens(run_.training, path);
    require_rising_tokens(run_.validation, path);
    for (size_t i = 0; i + 1 < run_.validation.size(); ++i) run_.validation[i].expert_counts.clear();
    run_.num_attempts = lineage_.num_attempts();
    if (num_not_finite_ > 0)
      run_.notes.push_back(
          concat(num_not_finite_, num_not_finite_ == 1 ? " row" : " rows", " without a finite loss left out"));
  }

 private:
  void add_validation(const Json& json, std::string_view where) {
    ValidationRow row;
    row.step = count_value(json, "step", where);
    row.tokens = count_value(json, "tokens", where);
    row.attempt = count_value(json, "attempt", where);
    row.val_loss = optional_number(json, "val_loss", where);
    row.seconds = optional_number(json, "seconds", where);
    if (const auto sets = json.find("sets"); sets != json.end()) {
      if (!sets->is_object()) fail(where, concat("member \"sets\" required an object, found ", sets->type_name()));
      for (const auto& item : sets->items()) {
        row.sets.emplace_back(item.key(), optional_number(*sets, item.key().c_str(), where));
      }
    }
    row.expert_counts = read_expert_counts(json, where);
    row.scores = read_scores(json, where);
    lineage_.note_row(row.attempt, row.step);
    run_.validation.push_back(std::move(row));
  }

  void add_training(const Json& json, std::string_view where) {
    TrainingRow row;
    row.step = count_value(json, "step", where);
    row.tokens = count_value(json, "tokens", where);
    row.attempt = count_value(json, "attempt", where);
    row.loss = optional_number(json, "loss", where);
    row.lr = optional_number(json, "lr", where);
    row.grad_norm = optional_number(json, "grad_norm", where);
    row.aux_loss = optional_number(json, "aux_loss", where);
    row.tokens_per_second = optional_number(json, "tokens_per_second", where);
    row.seconds = json_value<double>(json, "seconds", where);
    if (const auto moe = json.find("moe"); moe != json.end()) {
      if (!moe->is_array()) fail(where, concat("member \"moe\" required a list, found ", moe->type_name()));
      for (const Json& layer : *moe) row.moe.push_back(read_layer(layer, num_loads_seen_ % load_stride_ == 0, where));
      const bool has_load =
          std::any_of(moe->begin(), moe->end(), [](const Json& layer) { return layer.contains("load"); });
      num_loads_seen_ += has_load ? 1 : 0;
    }
    lineage_.note_row(row.attempt, row.step);
    num_loads_kept_ += has_load(row) ? 1 : 0;
    run_.training.push_back(std::move(row));
    if (num_loads_kept_ > kMaxLoadRows) thin_loads();
  }

  static bool has_load(const TrainingRow& row) {
    return std::any_of(row.moe.begin(), row.moe.end(), [](const LayerRouting& layer) { return !layer.load.empty(); });
  }

  // A long run's loads would fill the memory and no picture has that many columns: every second one goes.
  void thin_loads() {
    load_stride_ *= 2;
    size_t num_before = 0;
    num_loads_kept_ = 0;
    for (TrainingRow& row : run_.training) {
      if (!has_load(row)) continue;
      if (num_before++ % 2 == 0) {
        ++num_loads_kept_;
        continue;
      }
      for (LayerRouting& layer : row.moe) std::vector<float>().swap(layer.load);
    }
  }

  void note_resume(const Json& row, std::string_view where) {
    const int64_t step = count_value(row, "step", where);
    std::vector<ResumedChange> changes;
    if (const auto found = row.find("changes"); found != row.end()) {
      if (!found->is_array()) fail(where, concat("member \"changes\" required a list, found ", found->type_name()));
      for (const Json& change : *found) {
        changes.push_back({step, json_value<std::string>(change, "key", where),
                           json_value<std::string>(change, "before", where),
                           json_value<std::string>(change, "after", where)});
      }
    }
    lineage_.note_resume(count_value(row, "attempt", where), step, optional_text(row, "from"), std::move(changes));
  }

  static double loss_of(const TrainingRow& row) { return row.loss; }
  static double loss_of(const ValidationRow& row) { return row.val_loss; }

  // A row without a finite loss goes last: until then it stands for its step, in place of an older attempt's row.
  template <typename Row>
  void keep_rows(std::vector<Row>& rows) {
    std::erase_if(rows, [&](const Row& row) { return !lineage_.holds(row.attempt, row.step); });
    keep_last_attempts(rows);
    num_not_finite_ += std::erase_if(rows, [](const Row& row) { return !std::isfinite(loss_of(row)); });
  }

  template <typename Row>
  static void keep_last_attempts(std::vector<Row>& rows) {
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
      return a.step != b.step ? a.step < b.step : a.attempt < b.attempt;
    });
    std::vector<Row> kept;
    for (Row& row : rows) {
      if (!kept.empty() && kept.back().step == row.step) {
        kept.back() = std::move(row);
      } else {
        kept.push_back(std::move(row));
      }
    }
    rows = std::move(kept);
  }

  template <typename Row>
  static void require_rising_tokens(const std::vector<Row>& rows, const std::string& path) {
    for (size_t i = 1; i < rows.size(); ++i) {
      if (rows[i - 1].tokens < rows[i].tokens) continue;
      fail(path, concat("required tokens that rise from step to step, found ", rows[i - 1].tokens, " at step ",
                        rows[i - 1].step, " and ", rows[i].tokens, " at step ", rows[i].step,
                        "; are these the rows of one run?"));
    }
  }

  Run& run_;
  size_t load_stride_ = 1;
  size_t num_loads_seen_ = 0;
  size_t num_loads_kept_ = 0;
  size_t num_not_finite_ = 0;
  Lineage lineage_;
};

void read_metrics(Run& run) {
  const std::string path = join_path(run.directory, "metrics.jsonl");
  if (!std::filesystem::exists(path)) fail(path, "required a metrics file, found none; is this a run directory?");
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  MetricsReader reader(run);
  size_t begin = 0;
  for (int64_t line = 1; begin < text.size(); ++line) {
    const size_t newline = text.find('\n', begin);
    const bool complete = newline != std::string_view::npos;
    const std::string_view row = text.substr(begin, complete ? newline - begin : newline);
    begin += row.size() + 1;
    const std::string where = concat(path, ":", line);
    Json json;
    try {
      json = parse_json(row, where);
    } catch (const Error&) {
      if (complete) throw;
      run.notes.push_back(concat("line ", line, " of metrics.jsonl is cut short and was left out"));
      break;
    }
    reader.add(json, where);
  }
  reader.finish(path);
  if (run.training.empty() && run.validation.empty()) {
    fail(run.directory, "required a run with training or validation rows in metrics.jsonl, found none");
  }
}

void read_summary(Run& run, const Summarize& summarize) {
  const std::string path = join_path(run.directory, "summary.json");
  Json summary;
  if (std::filesystem::exists(path)) {
    summary = parse_json(read_file(path), path);
  } else if (summarize && std::filesystem::exists(join_path(run.directory, "config.yaml"))) {
    summary = summarize(join_path(run.directory, "config.yaml"));
    run.notes.push_back("no summary.json: sizes computed from config.yaml");
  } else {
    fail(path, "required the run's summary, found none; is this a run directory?");
  }
  run.name = json_value<std::string>(summary, "name", path);
  run.seed = json_value<int64_t>(summary, "seed", path);
  run.routing = optional_text(summary, "routing");
  run.device = optional_text(summary, "device");
  run.precision = optional_text(summary, "precision");
  if (summary.contains("threads")) run.threads = json_value<int64_t>(summary, "threads", path);
  run.parameters = json_member(summary, "parameters", path);
  run.total_parameters = count_value(run.parameters, "total", path);
  run.active_parameters = count_value(run.parameters, "active", path);
  run.flops_by_part = json_member(summary, "flops_per_token", path);
  run.flops_per_token = json_value<double>(run.flops_by_part, "total", path);
  run.config = json_member(summary, "config", path);
}

// The time at `step`, on the straight line between the training rows around it.
double seconds_at(const std::vector<TrainingRow>& rows, int64_t step) {
  if (rows.empty()) return kNaN;
  const auto after = std::lower_bound(rows.begin(), rows.end(), step,
                                      [](const TrainingRow& row, int64_t wanted) { return row.step < wanted; });
  if (after == rows.end()) return rows.back().seconds;
  if (after->step == step) return after->seconds;
  const int64_t step_before = after == rows.begin() ? 0 : std::prev(after)->step;
  const double seconds_before = after == rows.begin() ? 0.0 : std::prev(after)->seconds;
  if (step <= step_before) return seconds_before;
  const double share = static_cast<double>(step - step_before) / static_cast<double>(after->step - step_before);
  return seconds_before + share * (after->seconds - seconds_before);
}

}  // namespace

int64_t Run::last_step() const {
  const int64_t of_training = training.empty() ? 0 : training.back().step;
  return validation.empty() ? of_training : std::max(of_training, validation.back().step);
}

int64_t Run::last_tokens() const {
  const int64_t of_training = training.empty() ? 0 : training.back().tokens;
  return validation.empty() ? of_training : std::max(of_training, validation.back().tokens);
}

double Run::last_flops() const {
  return static_cast<double>(last_tokens()) * flops_per_token;
}

double Run::last_seconds() const {
  return training.empty() ? kNaN : training.back().seconds;
}

Run read_run(const std::string& directory, const Summarize& summarize) {
  if (!std::filesystem::is_directory(directory)) fail(directory, "required a run directory, found none at this path");
  Run run;
  run.directory = directory;
  read_summary(run, summarize);
  read_metrics(run);
  for (ValidationRow& row : run.validation) {
    if (!std::isfinite(row.seconds)) row.seconds = seconds_at(run.training, row.step);
  }
  return run;
}

}  // namespace artel
