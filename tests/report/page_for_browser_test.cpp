#include "report/comparison.h"
#include "report/synthetic_runs.h"
#include "support/catch.h"

namespace artel {
namespace {

// Not a test by itself: tools/check_report_page.py opens what it writes. Run with: test_report "[write-page]"
TEST_CASE("a page of three configs with five seeds each is written to build/report-page", "[.][write-page]") {
  const double final_losses[] = {1.80, 1.83, 1.8045};
  const char* names[] = {"uoe", "moe", "aoe"};
  const char* routings[] = {"uoe", "softmax", "aoe"};
  std::vector<Run> runs;
  for (size_t i = 0; i < 3; ++i) {
    for (int64_t seed = 1; seed <= 5; ++seed) {
      SyntheticSpec spec;
      spec.name = concat(names[i], "-seed", seed);
      spec.routing = routings[i];
      spec.seed = seed;
      spec.final_loss = final_losses[i];
      spec.loss_noise = 0.004;
      spec.steps = 300;
      spec.num_layers = 6;
      spec.num_experts = 16;
      spec.flops_per_token = 6e6 + 1e5 * static_cast<double>(i);
      spec.tokens_per_second = 20000.0 - 1500.0 * static_cast<double>(i);
      spec.imbalance = 0.5 + 0.3 * static_cast<double>(i);
      spec.sets = {"bible", "code", "web"};
      runs.push_back(synthetic_run(spec));
    }
  }
  const Comparison comparison = compare_runs(std::move(runs), CompareOptions{.equivalence_margin = 0.01});
  const std::string directory = ARTEL_SOURCE_DIR "/build/report-page";
  write_text(directory + "/report.html", comparison_html(comparison));
  write_text(directory + "/compare.json", dump_json(comparison_json(comparison), 2));
  CHECK(comparison.groups.size() == 3);
}

}  // namespace
}  // namespace artel
