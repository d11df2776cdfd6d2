#include "report/comparison.h"
#include "report/markup_check.h"
#include "report/synthetic_runs.h"
#include "support/catch.h"

namespace artel {
namespace {

Comparison three_groups(const std::vector<std::string>& names, int num_seeds) {
  const std::vector<std::string> routings = {"uoe", "softmax", "aoe"};
  std::vector<Run> runs;
  for (size_t i = 0; i < names.size(); ++i) {
    for (int64_t seed = 1; seed <= num_seeds; ++seed) {
      SyntheticSpec spec;
      spec.name = names[i];
      spec.routing = routings[i];
      spec.seed = seed;
      spec.final_loss = 1.8 + 0.03 * static_cast<double>(i);
      spec.loss_noise = 0.004;
      spec.sets = {"bible", "a<b>&c"};
      runs.push_back(synthetic_run(spec));
    }
  }
  return compare_runs(std::move(runs), CompareOptions{.equivalence_margin = 0.01});
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

void collect_numbers(const Json& json, std::vector<std::string>& numbers) {
  if (json.is_number()) numbers.push_back(json.dump());
  if (!json.is_structured()) return;
  for (const Json& item : json) collect_numbers(item, numbers);
}

TEST_CASE("the page holds every number of the JSON as text") {
  const Comparison comparison = three_groups({"uoe", "moe", "aoe"}, 3);
  const std::string text = text_of(comparison_html(comparison));
  std::vector<std::string> numbers;
  collect_numbers(comparison_json(comparison), numbers);
  REQUIRE(numbers.size() > 200);
  for (const std::string& number : numbers) {
    CAPTURE(number);
    CHECK(text.find(number) != std::string::npos);
  }
}

TEST_CASE("the page is well-formed and loads nothing") {
  for (const int num_seeds : {1, 3}) {
    const std::string page = comparison_html(three_groups({"uoe", "moe", "aoe"}, num_seeds));
    CHECK(markup_error(page) == "");
    CHECK(count_of(page, "http") == count_of(page, "http://www.w3.org/2000/svg") + count_of(page, "http-equiv"));
    CHECK(count_of(text_of(page), "nan") == 0);
    CHECK(count_of(page, "src=") == 0);
    CHECK(count_of(page, "<link") == 0);
    CHECK(count_of(page, "@import") == 0);
    CHECK(count_of(page, "url(") == 0);
  }
}

TEST_CASE("what users wrote cannot become markup") {
  const std::string evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&";
  Comparison comparison = three_groups({evil, "moe"}, 2);
  comparison.runs[0].directory = evil;
  comparison.runs[0].events.push_back(Json{{"event", evil}});
  comparison.config[0].key = evil;
  comparison.config[0].values[0] = evil;
  comparison.notes.push_back(evil);
  comparison.groups[1].routing = evil;
  const std::string page = comparison_html(comparison);
  CHECK(markup_error(page) == "");
  CHECK(count_of(page, "<script>alert") == 0);
  CHECK(count_of(page, "<img") == 0);
  CHECK(count_of(page, "<script>") == 1);
}

TEST_CASE("every curve is there against tokens, FLOPs and time") {
  const std::string page = comparison_html(three_groups({"uoe", "moe", "aoe"}, 2));
  const size_t num_variants = count_of(page, "class=\"variant on-tokens\"");
  CHECK(num_variants == 3 + 2 + 5);  // losses and their difference, two sets, five routing values
  CHECK(count_of(page, "class=\"variant on-flops\"") == num_variants);
  CHECK(count_of(page, "class=\"variant on-seconds\"") == num_variants);
  CHECK(count_of(page, "<figure") == count_of(page, "class=\"save-svg\""));
  CHECK(count_of(page, "Expert load of") >= 3);
  CHECK(count_of(page, "id=\"experts-by-set-") == 3);
  CHECK(count_of(page, "Validation loss on a&lt;b&gt;&amp;c") >= 1);
}

TEST_CASE("sections without data are left out") {
  SyntheticSpec spec;
  spec.num_layers = 0;
  std::vector<Run> runs = {synthetic_run(spec)};
  runs[0].validation.clear();
  const std::string page = comparison_html(compare_runs(runs));
  CHECK(markup_error(page) == "");
  CHECK(count_of(page, "Training loss") > 0);
  for (const char* id : {"id=\"routing\"", "id=\"sets\"", "id=\"differences\"", "id=\"validation-loss\""}) {
    CHECK(count_of(page, id) == 0);
  }
  runs = {synthetic_run(spec)};
  runs[0].training.clear();
  CHECK(markup_error(comparison_html(compare_runs(runs))) == "");
}

TEST_CASE("a single validation set is not shown twice") {
  SyntheticSpec spec;
  spec.sets = {"validation"};
  const std::string page = comparison_html(compare_runs({synthetic_run(spec)}));
  CHECK(count_of(page, "id=\"validation-loss\"") == 1);
  CHECK(count_of(page, "id=\"sets\"") == 0);
}

TEST_CASE("a single seed is told apart from a result") {
  const std::string text = text_of(comparison_html(three_groups({"uoe", "moe"}, 1)));
  CHECK(text.find("no verdict: one seed") != std::string::npos);
  CHECK(text.find("significantly") == std::string::npos);
}

}  // namespace
}  // namespace artel
