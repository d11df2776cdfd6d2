#include "config/changes.h"

#include <set>

#include "config/yaml.h"
#include "support/catch.h"
#include "support/error_text.h"

using namespace artel;

namespace {

Config with(const std::vector<std::string>& overrides) {
  return parse_config("data: {train: [{path: a.bin}], validation: [{path: v.bin}]}\n", "a.yaml", overrides);
}

}  // namespace

TEST_CASE("each key follows the rule for resuming of its block") {
  const std::set<std::string> exceptions = {"run.seed", "train.precision", "train.init_from", "train.global_batch_size",
                                            "data.order"};
  const std::set<std::string> decide_on_steps = {"train.spike_window", "train.spike_z_score", "train.spike_action"};
  Config config;
  for (const Field& field : config_fields(config, known_routing_types())) {
    INFO(field.key);
    const std::string block = field.key.substr(0, field.key.find('.'));
    if (block == "model" || exceptions.count(field.key) > 0) {
      CHECK(field.on_resume == OnResume::forbidden);
    } else if (block == "optimizer" || block == "schedule" || block == "data" || decide_on_steps.count(field.key) > 0) {
      CHECK(field.on_resume == OnResume::needs_allow);
    } else {
      CHECK(field.on_resume == OnResume::free);
    }
  }
}

TEST_CASE("equal configs have no changes and a change names key, values and rule") {
  CHECK(config_changes(with({}), with({})).empty());
  const std::vector<ConfigChange> changes = config_changes(
      with({}), with({"train.steps=7", "optimizer.lr=0.5", "model.qk_norm=true", "data.train.0.path=b.bin"}));
  const std::vector<ConfigChange> expected = {
      {"model.qk_norm", "false", "true", OnResume::forbidden},
      {"data.train", "[{path: a.bin, weight: 1.0, dtype: auto, name: a}]",
       "[{path: b.bin, weight: 1.0, dtype: auto, name: b}]", OnResume::needs_allow},
      {"optimizer.lr", "0.001", "0.5", OnResume::needs_allow},
      {"train.steps", "600", "7", OnResume::free},
  };
  CHECK(changes == expected);
}

TEST_CASE("--allow-change covers a key or the block that it is in, and no neighbour") {
  CHECK(allows_change({"optimizer.lr"}, "optimizer.lr"));
  CHECK(allows_change({"x", "optimizer"}, "optimizer.lr"));
  CHECK_FALSE(allows_change({"optimizer.l"}, "optimizer.lr"));
  CHECK_FALSE(allows_change({"optimizer.lr"}, "optimizer.eps"));
  CHECK_FALSE(allows_change({}, "optimizer.lr"));
}

TEST_CASE("resuming passes over free changes and returns those that were allowed") {
  CHECK(require_resumable(with({}), with({"train.steps=7", "run.name=b", "parallel.expert=2"}), {}, "RUN").empty());
  const std::vector<ConfigChange> allowed =
      require_resumable(with({}), with({"optimizer.lr=0.5", "train.steps=7"}), {"optimizer"}, "RUN");
  REQUIRE(allowed.size() == 1);
  CHECK(allowed[0].key == "optimizer.lr");
}

TEST_CASE("resuming with a change that is not allowed is an error naming keys and remedy") {
  const auto message = [](const std::vector<std::string>& overrides, const std::vector<std::string>& allowed) {
    return error_text([&] { require_resumable(with({}), with(overrides), allowed, "runs/a"); });
  };
  CHECK(message({"run.seed=1", "model.qk_norm=true"}, {"run.seed", "model"}) ==
        "[config] runs/a: a resumed run required the same values, found a change of run.seed (was 1234, now 1), "
        "model.qk_norm (was false, now true); undo it, or start a new run under another run.name");
  CHECK(message({"optimizer.lr=0.5", "schedule.warmup_steps=3"}, {"optimizer.lr"}) ==
        "[config] runs/a: a resumed run required the same values, found a change of schedule.warmup_steps (was 0, now "
        "3); undo it, or pass --allow-change schedule.warmup_steps");
  CHECK(contains(message({"train.precision=fp32"}, {}), "train.precision (was auto, now fp32)"));
  CHECK(contains(message({}, {"optimizer.lrr"}),
                 "--allow-change optimizer.lrr: unknown key 'optimizer.lrr'; did you mean "
                 "'optimizer.lr'?"));
}
