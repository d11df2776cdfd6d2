#include "report/grouping.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "config/changes.h"
#include "config/fields.h"
#include "util/text.h"

namespace artel {
namespace {

using FlatConfig = std::vector<std::pair<std::string, std::string>>;

void flatten_into(const Json& value, const std::string& key, FlatConfig& flat) {
  const auto is_container = [](const Json& item) { return item.is_structured(); };
  if (value.is_object()) {
    for (const auto& item : value.items()) {
      flatten_into(item.value(), key.empty() ? item.key() : concat(key, '.', item.key()), flat);
    }
  } else if (value.is_array() && std::any_of(value.begin(), value.end(), is_container)) {
    for (size_t i = 0; i < value.size(); ++i) flatten_into(value[i], concat(key, '[', i, ']'), flat);
  } else {
    flat.emplace_back(key, value.is_string() ? value.get<std::string>() : dump_json(value));
  }
}

// model.routing.uoe.routing_norm belongs to a method; model.routing.type belongs to none.
bool is_of_unused_method(const std::string& key, const std::string& method) {
  constexpr std::string_view prefix = "model.routing.";
  if (!key.starts_with(prefix)) return false;
  const size_t dot = key.find('.', prefix.size());
  return dot != std::string::npos && key.substr(prefix.size(), dot - prefix.size()) != method;
}

std::string text_at(const Json& config, const char* path) {
  const Json::json_pointer pointer(path);
  if (!config.contains(pointer) || !config.at(pointer).is_string()) return {};
  return config.at(pointer).get<std::string>();
}

std::string routing_method(const Json& config) {
  return text_at(config, "/model/routing/type");
}

// A key that is not in the table is of another version of the program and counts.
bool is_free_on_resume(const std::string& key) {
  Config config;
  const std::vector<Field> fields = config_fields(config, known_routing_types());
  return std::any_of(fields.begin(), fields.end(),
                     [&](const Field& field) { return field.key == key && field.on_resume == OnResume::free; });
}

// Equal for two runs exactly when they differ at most in seed and in what leaves the losses alone, all the way.
std::string identity_of(const Run& run) {
  std::string identity = concat(run.device, '\n', run.precision, '\n');
  for (const auto& item : flatten_config(run.config)) {
    if (item.first == "run.seed" || leaves_losses_alone(item.first)) continue;
    identity += concat(item.first, '=', item.second, '\n');
  }
  return identity + change_list(changes_of_losses(run));
}

std::string common_prefix(const std::vector<std::string>& names) {
  std::string prefix = names.front();
  for (const std::string& name : names) {
    const auto ends = std::mismatch(prefix.begin(), prefix.end(), name.begin(), name.end());
    prefix.erase(ends.first, prefix.end());
  }
  return prefix;
}

// The part that names share, less what introduces the seed: "uoe" for uoe-seed1 and uoe-seed12.
std::string group_name(const std::vector<std::string>& names) {
  std::string prefix = common_prefix(names);
  if (prefix == names.front() && prefix == names.back()) return prefix;
  const std::string separators = "-_. /";
  std::string name = prefix;
  while (!name.empty() && name.back() >= '0' && name.back() <= '9') name.pop_back();
  const auto trim = [&] {
    while (!name.empty() && separators.find(name.back()) != std::string::npos) name.pop_back();
  };
  trim();
  for (const std::string_view suffix : {"seed", "s"}) {
    if (name.size() <= suffix.size() || name.substr(name.size() - suffix.size()) != suffix) continue;
    if (separators.find(name[name.size() - suffix.size() - 1]) == std::string::npos) continue;
    name.erase(name.size() - suffix.size());
    trim();
    break;
  }
  return name.empty() ? names.front() : name;
}

void make_names_unique(const std::vector<Run>& runs, std::vector<RunGroup>& groups) {
  std::map<std::string, int> num_uses;
  for (const RunGroup& group : groups) ++num_uses[group.name];
  std::set<std::string> used;
  for (RunGroup& group : groups) {
    const Run& first = runs[group.runs.front()];
    if (num_uses[group.name] > 1) {
      const std::string leaf = std::filesystem::path(first.directory).filename().string();
      if (!leaf.empty() && leaf != group.name) group.name = concat(group.name, " (", leaf, ')');
    }
    const std::string base = group.name;
    for (int copy = 2; !used.insert(group.name).second; ++copy) group.name = concat(base, " (", copy, ')');
  }
}

}  // namespace

std::vector<std::pair<std::string, std::string>> flatten_config(const Json& config) {
  FlatConfig flat;
  flatten_into(config, "", flat);
  const std::string method = routing_method(config);
  if (method.empty()) return flat;
  const auto unused = [&](const auto& item) { return is_of_unused_method(item.first, method); };
  flat.erase(std::remove_if(flat.begin(), flat.end(), unused), flat.end());
  return flat;
}

std::vector<ResumedChange> changes_of_losses(const Run& run) {
  const bool micro_loss = text_at(run.config, "/model/router_aux_loss_scope") == "micro";
  std::vector<ResumedChange> changes = run.changes;
  std::erase_if(changes, [&](const ResumedChange& change) {
    const std::string& key = change.key;
    if (key == "train.steps" || key == "validation.batches") return false;
    if (key == "train.micro_batch_size") return !micro_loss;
    return is_free_on_resume(key) || leaves_losses_alone(key);
  });
  return changes;
}

std::string change_list(const std::vector<ResumedChange>& changes) {
  std::vector<std::string> texts;
  for (const ResumedChange& change : changes) {
    texts.push_back(concat(change.key, " (was ", change.before, ", now ", change.after, ") after step ", change.step));
  }
  return join(texts, ", ");
}

std::vector<RunGroup> group_runs(const std::vector<Run>& runs) {
  // The second run of a config and seed opens a second group of that config, and so on.
  std::map<std::pair<std::string, size_t>, size_t> group_of;
  std::map<std::pair<std::string, int64_t>, size_t> num_runs_of;
  std::vector<RunGroup> groups;
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::string identity = identity_of(runs[i]);
    const size_t copy = num_runs_of[{identity, runs[i].seed}]++;
    const auto found = group_of.try_emplace({identity, copy}, groups.size());
    if (found.second) groups.emplace_back();
    groups[found.first->second].runs.push_back(i);
  }
  for (RunGroup& group : groups) {
    std::stable_sort(group.runs.begin(), group.runs.end(),
                     [&](size_t a, size_t b) { return runs[a].seed < runs[b].seed; });
    std::vector<std::string> names;
    for (const size_t run : group.runs) names.push_back(runs[run].name);
    group.name = group_name(names);
  }
  make_names_unique(runs, groups);
  return groups;
}

std::vector<ConfigRow> compare_configs(const std::vector<Run>& runs, const std::vector<RunGroup>& groups) {
  std::vector<ConfigRow> rows;
  std::map<std::string, size_t> row_of;
  for (size_t g = 0; g < groups.size(); ++g) {
    const Run& run = runs[groups[g].runs.front()];
    FlatConfig flat = flatten_config(run.config);
    flat.emplace_back("resolved device", run.device);
    flat.emplace_back("resolved precision", run.precision);
    const std::string changes = change_list(changes_of_losses(run));
    if (!changes.empty()) flat.emplace_back("changed on resuming", changes);
    for (const auto& item : flat) {
      if (item.first.starts_with("run.")) continue;
      const auto found = row_of.try_emplace(item.first, rows.size());
      if (found.second) rows.push_back({item.first, std::vector<std::string>(groups.size(), "-"), false});
      rows[found.first->second].values[g] = item.second.empty() ? "-" : item.second;
    }
  }
  for (ConfigRow& row : rows) {
    row.differs =
        std::any_of(row.values.begin(), row.values.end(), [&](const auto& value) { return value != row.values[0]; });
  }
  std::stable_partition(rows.begin(), rows.end(), [](const ConfigRow& row) { return row.differs; });
  return rows;
}

}  // namespace artel
