#include <filesystem>
#include <fstream>

#include "config/changes.h"
#include "config/yaml.h"
#include "support/catch.h"
#include "util/files.h"

using namespace artel;

namespace {

const std::string kRoot = ARTEL_SOURCE_DIR;

std::vector<std::string> changed_keys(const std::string& a, const std::string& b) {
  std::vector<std::string> keys;
  for (const ConfigChange& change : config_changes(load_config(kRoot + a), load_config(kRoot + b)))
    keys.push_back(change.key);
  return keys;
}

}  // namespace

TEST_CASE("every committed config loads") {
  size_t num_files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kRoot + "/configs")) {
    if (entry.path().extension() != ".yaml") continue;
    INFO(entry.path());
    const Config config = load_config(entry.path().string());
    CHECK(parse_config(dump_config(config), "dump.yaml") == config);
    ++num_files;
  }
  CHECK(num_files >= 9);
}

TEST_CASE("the configs of a comparison differ in the routing method and the name alone") {
  const std::vector<std::string> expected = {"run.name", "model.routing.type"};
  for (const std::string family : {"/configs/quickstart/", "/configs/paper/1b_", "/configs/paper/3b_"}) {
    CHECK(changed_keys(family + "uoe.yaml", family + "moe.yaml") == expected);
    CHECK(changed_keys(family + "uoe.yaml", family + "aoe.yaml") == expected);
    CHECK(load_config(kRoot + family + "uoe.yaml").model.routing.type == "uoe");
    CHECK(load_config(kRoot + family + "moe.yaml").model.routing.type == "softmax");
    CHECK(load_config(kRoot + family + "aoe.yaml").model.routing.type == "aoe");
  }
}

TEST_CASE("the quickstart config has the values of the interface") {
  const Config c = load_config(kRoot + "/configs/quickstart/uoe.yaml");
  CHECK(c.run == RunConfig{"uoe-tiny", "runs", 1234});
  CHECK(c.model.hidden_size == 256);
  CHECK(c.model.num_hidden_layers == 4);
  CHECK(c.model.num_experts == 16);
  CHECK(c.model.num_experts_per_tok == 2);
  CHECK(c.model.shared_expert_intermediate_size == 256);
  CHECK(c.model.routing.uoe == UoeConfig{18, "gate", "l2", true, true, 1.0});
  CHECK(c.schedule == ScheduleConfig{"cosine", 50, 0.1, 0.2});
  CHECK(c.train == TrainConfig{600, 16, 16, "auto", "", "auto", 0, "none"});
  CHECK(c.validation == ValidationConfig{100, 16, 64, "The ", {}, 0});
  CHECK(c.checkpoint == CheckpointConfig{200, 3});
}

TEST_CASE("the paper configs resolve to the published routing sizes") {
  const Config b1 = load_config(kRoot + "/configs/paper/1b_uoe.yaml");
  CHECK(b1.model.routing.uoe.routing_neurons == 9);
  CHECK(b1.model.routing.aoe == AoeConfig{341, 512});
  const Config b3 = load_config(kRoot + "/configs/paper/3b_uoe.yaml");
  CHECK(b3.model.routing.uoe.routing_neurons == 14);
  CHECK(b3.model.routing.aoe == AoeConfig{512, 768});
}

// Regenerate with: test_config "[write-docs]"
TEST_CASE("docs/config.md is what the table of keys says") {
  CHECK(read_file(kRoot + "/docs/config.md") == config_reference_markdown());
}

TEST_CASE("docs/config.md is written from the table of keys", "[.][write-docs]") {
  std::ofstream(kRoot + "/docs/config.md") << config_reference_markdown();
  CHECK(read_file(kRoot + "/docs/config.md") == config_reference_markdown());
}

TEST_CASE("the reference has a row with documentation for every key") {
  Config config;
  for (const Field& field : config_fields(config, known_routing_types())) {
    INFO(field.key);
    CHECK_FALSE(field.doc.empty());
    CHECK(field.doc.find('\n') == std::string::npos);
    CHECK(field.doc.back() == '.');
    const std::string name = "| `" + field.key.substr(field.key.rfind('.') + 1) + "` |";
    CHECK(config_reference_markdown().find(name) != std::string::npos);
  }
}
