#include "config/changes.h"

#include <algorithm>

#include "config/read_value.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

bool covers(const std::string& allowed, const std::string& key) {
  return key == allowed ||
         (key.size() > allowed.size() && key.compare(0, allowed.size(), allowed) == 0 && key[allowed.size()] == '.');
}

void check_allowed_names(const std::vector<std::string>& allowed, const std::vector<Field>& fields) {
  std::vector<std::string> names;
  for (const Field& field : fields) {
    if (field.on_resume == OnResume::needs_allow) names.push_back(field.key);
  }
  for (const std::string& key : allowed) {
    const auto known = [&](const Field& field) { return covers(key, field.key); };
    if (std::any_of(fields.begin(), fields.end(), known)) continue;
    fail("config", concat("--allow-change ", key, ": unknown key '", key, "'", did_you_mean(key, names)));
  }
}

}  // namespace

std::vector<ConfigChange> config_changes(const Config& saved, const Config& now) {
  Config before = saved;
  Config after = now;
  const std::vector<Field> old_fields = config_fields(before, known_routing_types());
  const std::vector<Field> new_fields = config_fields(after, known_routing_types());
  std::vector<ConfigChange> changes;
  for (size_t i = 0; i < old_fields.size(); ++i) {
    ConfigChange change{old_fields[i].key, value_text(old_fields[i]), value_text(new_fields[i]),
                        old_fields[i].on_resume};
    if (change.before != change.after) changes.push_back(std::move(change));
  }
  return changes;
}

bool defines_function(const ModelConfig& model, const std::string& key) {
  if (!covers("model", key)) return false;
  const std::string name = key.substr(std::string("model.").size());
  const auto one_of = [&](std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(), [&](const char* other) { return covers(other, name); });
  };
  if (one_of({"max_position_embeddings", "initializer_range", "router_aux_loss_coef", "router_aux_loss_scope",
              "router_z_loss_coef"})) {
    return false;
  }
  const bool dense = model.num_experts == 0;
  const std::string& type = model.routing.type;
  if (name == "intermediate_size") return dense;
  if (one_of({"num_experts_per_tok", "norm_topk_prob", "routed_scaling_factor", "routing.type"})) return !dense;
  if (name == "moe_intermediate_size") return !dense && type != "aoe";
  if (name == "shared_expert_intermediate_size") return !dense && type != "uoe";
  for (const char* method : {"uoe", "aoe"}) {
    if (covers(std::string("routing.") + method, name)) return !dense && type == method;
  }
  return true;
}

std::vector<ConfigChange> function_changes(const ModelConfig& saved, const ModelConfig& now) {
  Config before;
  before.model = saved;
  Config after;
  after.model = now;
  std::vector<ConfigChange> changes = config_changes(before, after);
  std::erase_if(changes, [&](const ConfigChange& change) {
    return !defines_function(saved, change.key) && !defines_function(now, change.key);
  });
  return changes;
}

std::string change_list(const std::vector<ConfigChange>& changes) {
  std::vector<std::string> texts;
  for (const ConfigChange& change : changes) {
    texts.push_back(concat(change.key, " (was ", change.before, ", now ", change.after, ")"));
  }
  return join(texts, ", ");
}

bool leaves_losses_alone(const std::string& key) {
  if (key == "run.seed") return false;
  return covers("run", key) || covers("checkpoint", key) || key == "train.threads" ||
         key == "validation.sample_tokens" || key == "validation.sample_prompt" || key == "validation.tasks" ||
         key == "validation.task_examples";
}

bool allows_change(const std::vector<std::string>& allowed, const std::string& key) {
  return std::any_of(allowed.begin(), allowed.end(), [&](const std::string& name) { return covers(name, key); });
}

std::vector<ConfigChange> require_resumable(const Config& saved, const Config& now,
                                            const std::vector<std::string>& allowed, const std::string& where) {
  Config copy = now;
  check_allowed_names(allowed, config_fields(copy, known_routing_types()));
  std::vector<ConfigChange> forbidden;
  std::vector<ConfigChange> missing;
  std::vector<ConfigChange> logged;
  for (ConfigChange& change : config_changes(saved, now)) {
    if (change.kind == OnResume::forbidden)
      forbidden.push_back(std::move(change));
    else if (change.kind == OnResume::needs_allow && !allows_change(allowed, change.key))
      missing.push_back(std::move(change));
    else if (change.kind == OnResume::needs_allow)
      logged.push_back(std::move(change));
  }
  if (!forbidden.empty()) {
    fail("config", concat(where, ": a resumed run required the same values, found a change of ", change_list(forbidden),
                          "; undo it, or start a new run under another run.name"));
  }
  if (!missing.empty()) {
    fail("config", concat(where, ": a resumed run required the same values, found a change of ", change_list(missing),
                          "; undo it, or pass --allow-change ", missing.front().key));
  }
  return logged;
}

}  // namespace artel
