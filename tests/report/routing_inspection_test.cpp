#include "report/routing_inspection.h"

#include <cmath>
#include <limits>

#include "report/format.h"
#include "report/markup_check.h"
#include "support/catch.h"

namespace artel {
namespace {

constexpr size_t kNumExperts = 4;

LayerInspection made_up_layer(int64_t index, size_t num_sets) {
  LayerInspection layer;
  layer.layer = index;
  layer.max_violation = 0.25 + 0.125 * static_cast<double>(index);
  layer.load_entropy = 0.97;
  layer.choice_entropy = 0.81;
  layer.margin = 0.0234;
  layer.load = {110, 90, 120, 80};
  for (size_t set = 0; set < num_sets; ++set) layer.load_by_set.push_back({55, 45, 60, 40});
  layer.specialisation = num_sets > 1 ? 0.0125 : std::nan("");
  layer.coactivation.assign(kNumExperts, std::vector<double>(kNumExperts, 30.0));
  for (const char* target : {"gate_activation", "activation", "output", "gate_activation_of_the_rest"}) {
    layer.agreements.push_back({target, 0.4321 + 0.01 * static_cast<double>(index), 0.2109, 0.6543, 0.5678});
  }
  layer.shared = {"virtual", 1.25, 0.75, 1.5};
  layer.kept = 0.9123;
  layer.kept_by_chance = 0.5012;
  return layer;
}

RoutingInspection made_up_inspection(size_t num_sets = 2) {
  RoutingInspection inspection;
  inspection.name = "uoe-tiny";
  inspection.routing = "uoe";
  inspection.checkpoint = {"runs/uoe-tiny/checkpoints/step-00000600", 600};
  inspection.other = {"runs/uoe-tiny/checkpoints/step-00000400", 400};
  inspection.num_experts = kNumExperts;
  inspection.num_experts_per_tok = 2;
  inspection.tokens = 200;
  inspection.sampled_tokens = 64;
  inspection.tokens_are_bytes = true;
  for (size_t set = 0; set < num_sets; ++set) {
    const auto more = static_cast<double>(set);
    inspection.sets.push_back({set == 0 ? "text-bible" : "text-perl", "data/x.bin", 100, 1.75 + more, 1.9 + more});
  }
  for (int64_t layer = 0; layer < 3; ++layer) inspection.layers.push_back(made_up_layer(layer, num_sets));
  for (const int32_t token : {int32_t{'a'}, int32_t{'<'}, int32_t{' '}, int32_t{'\n'}, int32_t{200}}) {
    inspection.choices.push_back({0, 0, token % 7, token, {{1, 3}, {0, 2}, {2, 1}}, {{0.75F, 0.25F}, {1, 0}, {1, 0}}});
  }
  return inspection;
}

void collect_numbers(const Json& json, std::vector<std::string>& numbers) {
  if (json.is_number()) numbers.push_back(json.dump());
  if (!json.is_structured()) return;
  for (const Json& item : json) collect_numbers(item, numbers);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("the page on routing holds every number of its JSON, is well-formed and loads nothing") {
  const RoutingInspection inspection = made_up_inspection();
  const std::string page = routing_inspection_html(inspection);
  CHECK(markup_error(page) == "");
  const std::string text = text_of(page);
  std::vector<std::string> numbers;
  collect_numbers(routing_inspection_json(inspection), numbers);
  REQUIRE(numbers.size() > 150);
  for (const std::string& number : numbers) {
    CAPTURE(number);
    CHECK(has(text, number));
  }
  for (const char* part : {"src=", "<link", "@import", "url("}) CHECK_FALSE(has(page, part));
  CHECK_FALSE(has(text, "nan"));
  for (const char* id : {"scores", "shared", "decisions", "texts", "change", "pairs", "choices", "numbers"}) {
    CAPTURE(id);
    CHECK(has(page, std::string("<section id=\"") + id + "\""));
  }
  for (const char* token : {"<td class=\"left\">a</td>", "&lt;", "␣", "↵", "#200"}) CHECK(has(page, token));
}

TEST_CASE("the findings say what came out with its numbers") {
  const std::vector<std::string> findings = routing_findings(made_up_inspection());
  REQUIRE(findings.size() == 3);
  CHECK(has(findings[0], "rank correlation of 0.442 (layers: 0.432 to 0.452)"));
  CHECK(has(findings[0], "56.8 % are among the experts with the strongest activations; blind ones would be 50.0 %"));
  CHECK(has(findings[1], "virtual shared expert’s part is 0.83 times as long as the layer’s output"));
  CHECK(has(findings[1], "Without it the loss rises from 2.2500 to 2.4000"));
  CHECK(has(findings[2], "91.2 % of the assignments at step 600 are also made by the other checkpoint, of step 400"));
}

TEST_CASE("what was not looked at is left out") {
  RoutingInspection inspection = made_up_inspection(1);
  inspection.other = {};
  inspection.sampled_tokens = 0;
  inspection.choices.clear();
  inspection.num_experts_per_tok = 1;
  inspection.sets[0].loss_without_shared = std::nan("");
  for (LayerInspection& layer : inspection.layers) {
    layer.agreements.clear();
    layer.shared = {};
    layer.kept = layer.kept_by_chance = std::nan("");
    layer.dead_experts = 1;
  }
  const std::string page = routing_inspection_html(inspection);
  CHECK(markup_error(page) == "");
  for (const char* id : {"scores", "shared", "texts", "change", "pairs", "choices"}) {
    CAPTURE(id);
    CHECK_FALSE(has(page, std::string("<section id=\"") + id + "\""));
  }
  CHECK(has(page, "<section id=\"losses\""));
  const std::vector<std::string> findings = routing_findings(inspection);
  REQUIRE(findings.size() == 1);
  CHECK(findings[0] == "1.0 of 4 experts a layer got no token of these texts.");
  const Json json = parse_json(dump_json(routing_inspection_json(inspection)), "json");
  CHECK(json["layers"][0]["assignments_kept"].is_null());
  CHECK(json["other"].is_null());
  CHECK(json["loss_without_shared_expert"].is_null());
  CHECK_FALSE(has(routing_inspection_table(inspection), "nan"));
}

TEST_CASE("names from outside cannot become markup on the page on routing") {
  const std::string evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&";
  RoutingInspection inspection = made_up_inspection();
  inspection.name = evil;
  inspection.checkpoint.path = evil;
  inspection.other.path = evil;
  inspection.routing = evil;
  inspection.sets[0].name = evil;
  inspection.sets[0].path = evil;
  const std::string page = routing_inspection_html(inspection);
  CHECK(markup_error(page) == "");
  CHECK_FALSE(has(page, "<script>alert"));
  CHECK_FALSE(has(page, "<img"));
}

TEST_CASE("the table on routing has a line per layer") {
  const std::string table = routing_inspection_table(made_up_inspection());
  for (const char* part : {"corr act.", "0.442", "0.912", "uoe-tiny, uoe, step 600, 200 tokens"}) {
    CAPTURE(part);
    CHECK(has(table, part));
  }
}

TEST_CASE("words that all names begin with are left out") {
  using Names = std::vector<std::string>;
  CHECK(without_common_words({"validation-bible", "validation-perl"}) == Names{"bible", "perl"});
  CHECK(without_common_words({"a_b-c", "a_b-d", "a_bcd"}) == Names{"b-c", "b-d", "bcd"});
  CHECK(without_common_words({"validation-bible"}) == Names{"validation-bible"});
  CHECK(without_common_words({"x-", "x-y"}) == Names{"x-", "x-y"});
  CHECK(without_common_words({"abc", "abd"}) == Names{"abc", "abd"});
  CHECK(without_common_words({"", "abd"}) == Names{"", "abd"});
}

}  // namespace
}  // namespace artel
