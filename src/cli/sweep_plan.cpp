#include "cli/sweep_plan.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "checkpoint/store.h"
#include "config/changes.h"
#include "config/yaml.h"
#include "data/loader.h"
#include "train/evaluation.h"
#include "train/metrics.h"
#include "train/runtime.h"
#include "util/error.h"
#include "util/json.h"
#include "util/text.h"

namespace artel {
namespace {

constexpr std::size_t kMaxSeeds = 1000;

[[noreturn]] void fail_seeds(std::string_view text, const std::string& found) {
  fail("sweep", concat("--seeds required numbers and ranges such as 1..5 or 1,2,7, found ", found, " in '", text, "'"));
}

std::int64_t parse_seed(std::string_view word, std::string_view text) {
  std::int64_t seed = 0;
  const auto result = std::from_chars(word.data(), word.data() + word.size(), seed);
  if (result.ec == std::errc::result_out_of_range) fail_seeds(text, concat("a seed above 2^63 - 1: ", word));
  if (result.ec != std::errc() || result.ptr != word.data() + word.size()) fail_seeds(text, concat("'", word, "'"));
  if (seed < 0) fail_seeds(text, concat("the negative seed ", word));
  return seed;
}

void add_seeds(std::string_view part, std::string_view text, std::vector<std::int64_t>& seeds) {
  const std::size_t dots = part.find("..");
  const std::int64_t first = parse_seed(part.substr(0, dots), text);
  const std::int64_t last = dots == std::string_view::npos ? first : parse_seed(part.substr(dots + 2), text);
  if (last < first) fail_seeds(text, concat("a range that ends before it begins, ", part));
  if (last - first >= static_cast<std::int64_t>(kMaxSeeds - seeds.size())) {
    fail_seeds(text, concat("more than ", kMaxSeeds, " seeds"));
  }
  for (std::int64_t seed = first; seed <= last; ++seed) {
    if (std::find(seeds.begin(), seeds.end(), seed) != seeds.end()) fail_seeds(text, concat("seed ", seed, " twice"));
    seeds.push_back(seed);
    if (seed == last) break;  // the largest seed has no successor
  }
}

bool sets_key(const std::string& override_text, std::string_view key) {
  return override_text.substr(0, override_text.find('=')) == key;
}

// Opens what a run would open hours later.
void check_data(const Config& config) {
  const DataOptions options = data_options(config);
  for (const DataFile& file : config.data.train) WindowedFile(data_source(file), options);
  for (const DataFile& file : config.data.validation) ValidationReader(data_source(file), options);
}

void require_same_config(FileLayer& files, const SweepRun& run) {
  const std::string path = join_path(run.directory, "config.yaml");
  if (!files.exists(path)) return;
  std::vector<std::string> texts;
  for (const ConfigChange& change : config_changes(load_config(path), run.config)) {
    if (leaves_losses_alone(change.key)) continue;
    // The directory has what `auto` came to.
    if (change.key == "train.precision" && (change.after == "auto" || change.before == "auto")) continue;
    texts.push_back(concat(change.key, " (there ", change.before, ", here ", change.after, ")"));
  }
  if (texts.empty()) return;
  fail("sweep",
       concat(run.directory, ": required a run of the config in ", run.config_file, ", found one that differs in ",
              join(texts, ", "), "; choose another run.name or run.directory, or move that directory away"));
}

// Whether the newest checkpoint is of the last step; one that cannot be opened is for the run to deal with.
bool has_last_checkpoint(FileLayer& files, const SweepRun& run) {
  const std::vector<std::string> paths = list_checkpoints(files, join_path(run.directory, "checkpoints"));
  if (paths.empty()) return false;
  try {
    return Checkpoint(files, paths.front()).step() == run.config.train.steps;
  } catch (const Error&) {
    return false;
  }
}

// Whether metrics.jsonl ends with what the last step of a run leaves.
bool has_last_row(FileLayer& files, const SweepRun& run) {
  const std::string path = join_path(run.directory, "metrics.jsonl");
  if (!files.exists(path)) return false;
  const bool validated = run.config.validation.every > 0 && !run.config.data.validation.empty();
  const char* member = validated ? "val_loss" : "loss";
  const std::string text = files.read(path);
  std::size_t end = text.rfind('\n');
  while (end != std::string::npos) {
    const std::size_t newline = end == 0 ? std::string::npos : text.rfind('\n', end - 1);
    const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    const auto number = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(begin), '\n');
    const std::int64_t step = metrics_value(line, "step", path, number);
    if (step < run.config.train.steps) return false;
    if (step == run.config.train.steps && parse_json(line, path).contains(member)) return true;
    end = newline;
  }
  return false;
}

}  // namespace

std::vector<std::int64_t> parse_seeds(std::string_view text) {
  std::vector<std::int64_t> seeds;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    add_seeds(text.substr(begin, comma - begin), text, seeds);
    begin = comma + 1;
  }
  return seeds;
}

std::vector<SweepRun> plan_sweep(const std::vector<std::string>& config_files, const std::vector<std::int64_t>& seeds,
                                 const std::vector<std::string>& overrides) {
  for (const std::string& text : overrides) {
    if (sets_key(text, "run.seed")) fail("sweep", concat("required seeds from --seeds, found --set ", text));
  }
  std::vector<Config> configs;
  std::map<std::string, std::string> file_of;  // run directory -> config file
  for (const std::string& file : config_files) {
    const Config& config = configs.emplace_back(load_config(file, overrides));
    check_data(config);
    check_device(config);
    const auto added = file_of.emplace(join_path(config.run.directory, config.run.name), file);
    if (added.second) continue;
    fail("sweep", concat("required a run.name for each config, found ", config.run.name, " in ", added.first->second,
                         " and in ", file));
  }
  std::vector<SweepRun> runs;
  for (const std::int64_t seed : seeds) {
    for (std::size_t i = 0; i < configs.size(); ++i) {
      SweepRun run{config_files[i], configs[i], ""};
      run.config.run.seed = seed;
      run.config.run.name = concat(configs[i].run.name, "-seed", seed);
      run.directory = join_path(run.config.run.directory, run.config.run.name);
      runs.push_back(std::move(run));
    }
  }
  return runs;
}

RunState examine_run(FileLayer& files, const SweepRun& run) {
  if (!files.exists(run.directory)) return RunState::absent;
  require_same_config(files, run);
  return has_last_checkpoint(files, run) && has_last_row(files, run) ? RunState::finished : RunState::unfinished;
}

}  // namespace artel
