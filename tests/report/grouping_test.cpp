#include "report/grouping.h"

#include "report/synthetic_runs.h"
#include "support/catch.h"

namespace artel {
namespace {

Run run_of(const std::string& name, int64_t seed, const std::string& routing = "uoe") {
  SyntheticSpec spec;
  spec.name = name;
  spec.seed = seed;
  spec.routing = routing;
  spec.steps = 10;
  return synthetic_run(spec);
}

std::vector<std::string> names_of(const std::vector<RunGroup>& groups) {
  std::vector<std::string> names;
  for (const RunGroup& group : groups) names.push_back(group.name);
  return names;
}

TEST_CASE("a config is flattened to dotted keys without the blocks of unused methods") {
  const auto flat = flatten_config(run_of("a", 1).config);
  const auto value = [&](const std::string& key) {
    for (const auto& item : flat) {
      if (item.first == key) return item.second;
    }
    return std::string("missing");
  };
  CHECK(value("model.routing.type") == "uoe");
  CHECK(value("model.routing.uoe.routing_neurons") == "18");
  CHECK(value("model.routing.aoe.d_low") == "missing");
  CHECK(value("data.train[0].path") == "train.bin");
  CHECK(value("optimizer.betas") == "[0.9,0.95]");
  CHECK(value("data.tokenizer") == "bytes");
}

TEST_CASE("runs that differ only in seed and name are one group, in seed order, named by what they share") {
  const std::vector<Run> runs = {run_of("uoe-seed12", 12), run_of("moe", 2, "softmax"), run_of("uoe-seed1", 1),
                                 run_of("moe", 1, "softmax")};
  const std::vector<RunGroup> groups = group_runs(runs);
  REQUIRE(groups.size() == 2);
  CHECK(names_of(groups) == std::vector<std::string>{"uoe", "moe"});
  CHECK(groups[0].runs == std::vector<size_t>{2, 0});
  CHECK(groups[1].runs == std::vector<size_t>{3, 1});
}

TEST_CASE("threads and checkpoints do not split a group, everything else does") {
  for (const auto& [pointer, groups] :
       std::vector<std::pair<std::string, size_t>>{{"/train/threads", 1},
                                                   {"/checkpoint/keep", 1},
                                                   {"/run/directory", 1},
                                                   {"/optimizer/lr", 2},
                                                   {"/train/steps", 2},
                                                   {"/data/train/0/path", 2},
                                                   {"/model/routing/uoe/routing_norm", 2},
                                                   {"/model/routing/aoe/d_low", 1}}) {
    CAPTURE(pointer);
    std::vector<Run> runs = {run_of("a", 1), run_of("a", 2)};
    runs[1].config[Json::json_pointer(pointer)] = 7;
    CHECK(group_runs(runs).size() == groups);
  }
  std::vector<Run> runs = {run_of("a", 1), run_of("a", 2)};
  runs[1].precision = "fp32";
  CHECK(group_runs(runs).size() == 2);
}

TEST_CASE("a run resumed with a change that its losses depend on is no seed of runs without it") {
  for (const auto& [key, groups] : std::vector<std::pair<std::string, size_t>>{{"optimizer.lr", 2},
                                                                               {"schedule.type", 2},
                                                                               {"data.train", 2},
                                                                               {"train.spike_action", 2},
                                                                               {"train.steps", 2},
                                                                               {"validation.batches", 2},
                                                                               {"a_key.of_another_version", 2},
                                                                               {"train.micro_batch_size", 1},
                                                                               {"train.device", 1},
                                                                               {"train.threads", 1},
                                                                               {"parallel.expert", 1},
                                                                               {"validation.every", 1},
                                                                               {"checkpoint.every", 1},
                                                                               {"run.name", 1}}) {
    CAPTURE(key);
    std::vector<Run> runs = {run_of("a", 1), run_of("a", 2)};
    runs[1].changes = {{4, key, "1", "2"}};
    CHECK(group_runs(runs).size() == groups);
    runs[0].changes = runs[1].changes;
    CHECK(group_runs(runs).size() == 1);
    runs[0].changes[0].step = 5;
    CHECK(group_runs(runs).size() == groups);
  }
  std::vector<Run> runs = {run_of("a", 1), run_of("a", 2)};
  runs[1].changes = {{4, "train.micro_batch_size", "4", "8"}};
  for (Run& run : runs) run.config["model"]["router_aux_loss_scope"] = "micro";
  const std::vector<RunGroup> groups = group_runs(runs);
  REQUIRE(groups.size() == 2);
  const ConfigRow row = compare_configs(runs, groups).at(0);
  CHECK(row.key == "changed on resuming");
  CHECK(row.values == std::vector<std::string>{"-", "train.micro_batch_size (was 4, now 8) after step 4"});
}

TEST_CASE("a config and seed given twice makes two groups, so that no seed counts twice") {
  std::vector<Run> runs = {run_of("a", 1), run_of("a", 2), run_of("a", 1), run_of("a", 2)};
  runs[2].directory = "again/a-seed1";
  runs[3].directory = "again/a-seed2";
  const std::vector<RunGroup> groups = group_runs(runs);
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].runs == std::vector<size_t>{0, 1});
  CHECK(groups[1].runs == std::vector<size_t>{2, 3});
  CHECK(groups[0].name == "a (a-seed1)");
  CHECK(groups[1].name == "a (a-seed1) (2)");
}

TEST_CASE("config rows that differ come first and show what a group lacks") {
  const std::vector<Run> runs = {run_of("uoe", 1), run_of("moe", 1, "softmax")};
  const std::vector<ConfigRow> rows = compare_configs(runs, group_runs(runs));
  REQUIRE(rows.size() > 6);
  CHECK(rows[0].key == "model.routing.type");
  CHECK(rows[0].values == std::vector<std::string>{"uoe", "softmax"});
  CHECK(rows[1].key == "model.routing.uoe.routing_neurons");
  CHECK(rows[1].values == std::vector<std::string>{"18", "-"});
  CHECK(rows[2].differs);
  for (size_t i = 3; i < rows.size(); ++i) {
    CHECK_FALSE(rows[i].differs);
    CHECK(rows[i].key.rfind("run.", 0) != 0);
  }
}

}  // namespace
}  // namespace artel
